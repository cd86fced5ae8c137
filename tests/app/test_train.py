"""The Train page: both forms, their controls, invalid settings, and a job from start to result."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.analysis.lab import Lab, tokenize
from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits
from attnviz.models import catalog
from attnviz.nn import AttentionConfig
from attnviz.train import jobs, snapshots
from attnviz.train.job import Job
from attnviz.train.run_job import run
from attnviz.train.settings import TaskWork
from attnviz.train.tasks import TASKS, find
from attnviz.train.tasks.task import settings_for
from tests.unit.train.damaged import DAMAGES, sound

ROOT = Path(__file__).parents[2]
APP = """
import streamlit as st
page = st.navigation([st.Page("pages/train.py"), st.Page("pages/explore.py")])
page.run()
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page beside the one it links to, over a jobs folder of its own."""
    monkeypatch.setenv("ATTNVIZ_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("ATTNVIZ_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "pages").symlink_to(ROOT / "pages")
    return AppTest.from_file(tmp_path / "app.py", default_timeout=120)


def text_of(app: AppTest) -> str:
    shown = [*app.caption, *app.markdown, *app.error, *app.warning, *app.info]
    return "\n".join(element.value for element in shown).replace("\\", "")


def film_of(app: AppTest) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the film's component was sent."""
    sent = [wire.unpack(one.proto.bytes) for one in app.get("bidi_component")]
    (film,) = [one for one in sent if one[0]["mode"] == "film"]
    return film


def start(app: AppTest) -> Job:
    next(b for b in app.button if b.label == "Start").click()
    app.run()
    assert not app.exception
    (job,) = jobs.all()
    assert job.name in app.query_params["job"]
    return job


def wait_until_inactive(job: Job) -> None:
    end = time.monotonic() + 180
    while job.status.is_active and time.monotonic() < end:
        time.sleep(0.1)


@pytest.mark.parametrize("name", [n for n in TASKS if n != "text"])
def test_every_task_has_its_controls_and_an_estimate(name: str, app: AppTest) -> None:
    app.run()
    app.pills(key="task").set_value(name).run()
    assert not app.exception
    assert find(name).description in text_of(app)
    assert "trainable parameters" in text_of(app)
    for option, value in find(name).options.items():
        assert app.number_input(key=f"{name}_{option}").value == value
    assert app.query_params.get("task") == (None if name == "induction" else name)


@pytest.mark.parametrize("link", ["digits", "Handwritten digits"])  # once the title was in links
def test_a_link_opens_a_task(link: str, app: AppTest) -> None:
    app.query_params["task"] = link
    app.run()
    assert not app.exception
    assert app.pills(key="task").value == "digits"
    app.slider(key="picture").set_value(5).run()
    app.number_input(key="digits_steps").set_value(2).run()
    job = start(app)
    assert job.settings.probe == "5"
    wait_until_inactive(job)
    app.run()
    assert not app.exception
    assert "images/s" in text_of(app)


@pytest.mark.parametrize("link", ["model", "Fine-tune a loaded model"])
def test_a_link_opens_a_form(link: str, app: AppTest) -> None:
    app.query_params["door"] = link
    app.query_params["task"] = "juggling"  # no such task: the first
    app.run()
    assert not app.exception
    assert app.segmented_control(key="door").value == "model"
    app.segmented_control(key="door").set_value("nothing").run()
    assert app.pills(key="task").value == "induction"


def test_an_empty_upload_is_reported(app: AppTest) -> None:
    app.session_state["model"] = "tiny-induction"
    app.query_params["door"] = "model"
    app.run()
    app.file_uploader(key="ft_file_True").upload("mine.txt", b"", "text/plain").run()
    assert not app.exception
    assert "mine.txt is empty" in text_of(app)


def test_the_probe_of_a_text_can_be_chosen(app: AppTest) -> None:
    app.query_params["task"] = "text"
    app.run()
    assert "the" in app.code[0].value
    app.text_input(key="text_probe").set_value("the hen").run()
    assert app.code[0].value == "the hen"
    app.text_input(key="text_probe").set_value("THE").run()
    assert "'T', which this task does not know" in text_of(app)
    assert next(b for b in app.button if b.label == "Start").disabled


def test_a_job_from_start_to_result(app: AppTest) -> None:
    app.run()
    app.pills(key="task").set_value("copy").run()
    for key, value in (
        ("copy_steps", 6),
        ("copy_batch", 8),
        ("copy_layers", 1),
        ("copy_heads", 2),
        ("copy_d_model", 16),
        ("copy_snapshots", 2),
        ("copy_seed", 3),
        ("copy_warmup", 1),
        ("copy_accumulation", 2),
        ("copy_symbols", 8),
    ):
        app.number_input(key=key).set_value(value)
    app.selectbox(key="copy_positions").set_value("alibi")
    app.selectbox(key="copy_mask").set_value("sliding").run()
    app.slider(key="copy_window").set_value(6)
    app.selectbox(key="copy_decay").set_value("linear")
    app.toggle(key="copy_feed_forward").set_value(False).run()
    assert not app.exception
    job = start(app)
    settings = job.settings
    assert isinstance(settings.work, TaskWork)
    assert settings.work.model == {
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "positions": "alibi",
        "mask": "sliding",
        "window": 6,
        "feed_forward": False,
    }
    assert settings.work.options["symbols"] == 8
    assert (settings.schedule.steps, settings.schedule.accumulation) == (6, 2)
    wait_until_inactive(job)
    app.run()
    assert not app.exception
    shown = text_of(app)
    assert "Step 6 of 6" in shown
    assert "held-out accuracy" in shown
    assert "Jensen-Shannon" in shown
    header, arrays = film_of(app)
    assert header["steps"] == [0, 3, 6]
    assert header["scoreTitle"] == "Copy score"
    assert arrays["scores"].shape == (3, 2)  # one layer of two heads
    app.query_params["step"], app.query_params["watch"] = "3", "0.1"
    app.run()
    assert not app.exception
    header, arrays = film_of(app)
    assert (header["at"], header["selected"]) == (3, [0, 1])
    trace = snapshots.read(job.snapshots()[1]).trace
    weights = trace.attention(0, 1).weights().numpy()
    shown = np.nan_to_num(SignificantDigits().decode(arrays["codes"][1]))
    assert shown == pytest.approx(weights, rel=6e-4, abs=1e-7)
    app.text_input(key="keep_name").set_value("my copier")
    keep = next(b for b in app.button if b.label == "Save")
    keep.click().run()
    assert "cannot be a name" in text_of(app)
    app.text_input(key="keep_name").set_value("my-copier")
    next(b for b in app.button if b.label == "Save").click().run()
    assert 'Saved as "my-copier"' in app.success[0].value.replace("\\", "")
    assert "my-copier" in [entry.name for entry in catalog.entries()]
    assert attnviz.load("my-copier").trace("ab>").layers
    app.button(key="new").click().run()
    assert not {"job", "step", "watch"} & set(app.query_params)
    assert any(b.label == "Copy · finished" for b in app.button)
    assert len(app.get("image")) == 1  # the run's picture
    app.button(key="remove_my-copier").click().run()
    assert not app.exception
    assert 'Removed "my-copier"' in app.success[0].value.replace("\\", "")
    assert "my-copier" not in [entry.name for entry in catalog.entries()]
    assert job.model is not None  # the run keeps its own


def test_invalid_settings_are_reported_beside_the_button(app: AppTest) -> None:
    app.run()
    app.number_input(key="induction_heads").set_value(3).run()
    assert not app.exception
    assert "3 heads do not divide d_model = 64" in app.error[0].value.replace("\\", "")
    assert next(b for b in app.button if b.label == "Start").disabled


def test_the_layer_labs_layer_can_be_trained(app: AppTest) -> None:
    lab = Lab(
        AttentionConfig(d_model=24, n_heads=3, mask="causal", positions="rope", sink=True),
        tokenize("a b", "words"),
        layers=2,
    )
    app.session_state["_lab"] = lab
    app.run()
    app.segmented_control(key="train_source").set_value("lab").run()
    assert not app.exception
    assert "2 layers of 3 heads, d_model 24" in text_of(app)
    app.number_input(key="induction_steps").set_value(2).run()
    job = start(app)
    wait_until_inactive(job)
    assert job.status.state == "finished"
    assert isinstance(job.settings.work, TaskWork)
    assert job.settings.work.model["sink"] is True


def test_a_failed_job_says_why_and_can_be_deleted(app: AppTest) -> None:
    settings = settings_for(find("copy"), model={"n_heads": 3})
    job = jobs.create(settings)
    run(job)
    app.query_params["job"] = job.name
    app.run()
    assert "heads do not divide" in app.error[0].value.replace("\\", "")
    app.button(key="delete").click().run()
    assert not app.exception
    assert not jobs.all()


def test_a_job_that_cannot_be_read_says_so_and_can_be_deleted(app: AppTest) -> None:
    job = jobs.create(settings_for(find("copy")))
    (job.folder / "job.json").write_text('{"work": 3}')
    app.run()
    next(b for b in app.button if b.label.replace("\\", "") == job.name).click().run()
    assert not app.exception
    assert "This is no training job" in text_of(app)
    app.button(key="delete").click().run()
    assert not app.exception
    assert not jobs.all()


def test_a_link_to_a_job_that_is_gone(app: AppTest) -> None:
    app.query_params["job"] = "20200101-nothing"
    app.run()
    assert "not found" in app.warning[0].value.replace("\\", "")
    assert any(b.label == "Start" for b in app.button)


def test_a_stopped_job_goes_on_without_its_limits(app: AppTest) -> None:
    task = find("copy")
    settings = settings_for(task, model={"n_layers": 1, "d_model": 16, "n_heads": 2})
    settings = replace(
        settings,
        schedule=replace(task.schedule, steps=6, batch_size=4, snapshots=1),
        limits=replace(settings.limits, minutes=0.0),
    )
    job = jobs.create(settings)
    run(job)
    assert job.status.state == "stopped"
    app.query_params["job"] = job.name
    app.run()
    assert "time limit" in app.warning[0].value
    app.button(key="resume").click().run()
    assert not app.exception
    wait_until_inactive(job)
    assert job.status.state == "finished"


def test_fine_tuning_asks_for_data_and_names_its_mistakes(app: AppTest) -> None:
    app.session_state["model"] = "tiny-induction"
    app.session_state["door"] = "model"
    app.run()
    assert not app.exception
    assert not app.error  # that there are no data yet is no error
    assert "Add your data or use the sample" in text_of(app)
    assert next(b for b in app.button if b.label == "Start").disabled
    app.text_area(key="ft_text").set_value("abcd" * 60).run()
    app.segmented_control(key="ft_method").set_value("last").run()
    app.number_input(key="ft_last").set_value(1)
    app.segmented_control(key="ft_method").set_value("lora").run()
    app.number_input(key="ft_rank").set_value(2)
    app.number_input(key="ft_length").set_value(16)
    app.number_input(key="ft_steps").set_value(3).run()
    assert not app.exception
    assert "trainable parameters" in text_of(app)
    job = start(app)
    wait_until_inactive(job)
    assert job.status.state == "finished", job.status.sentence
    app.run()
    assert not app.exception
    assert {b.label for b in app.get("download_button")} == {
        "Download the model",
        "Download the adapter",
    }


def test_damaged_jobs_leave_the_page_and_each_other_alone(app: AppTest, tmp_path: Path) -> None:
    root = tmp_path / "jobs"
    intact = Job(sound(root / "20990101-000000-sound"))
    for i, damage in enumerate(DAMAGES.values()):
        damage(sound(root / f"20200101-{i:06d}-damaged"))
    app.run()
    assert not app.exception
    assert any(b.label == "Start" for b in app.button)
    assert any("damaged" in b.label and "cancelled" in b.label for b in app.button)  # the sound one
    for job in jobs.all():
        if job.name == intact.name:
            continue
        app.query_params["job"] = job.name
        app.run()
        assert not app.exception, job.name
        assert all("inside attnviz" not in error.value for error in app.error), job.name
        app.button(key="delete").click().run()
        assert not app.exception, job.name
        assert not job.folder.exists()
    assert [job.name for job in jobs.all()] == [intact.name]


@pytest.mark.parametrize("model", ["tiny-induction", "tiny-dates"])
def test_a_sample_is_one_click_away(model: str, app: AppTest) -> None:
    app.session_state["model"] = model
    app.session_state["door"] = "model"
    app.run()
    app.button(key="ft_sample").click().run()
    assert not app.exception
    assert not app.error
    assert "trainable parameters" in text_of(app)
    app.number_input(key="ft_length").set_value(16)
    app.number_input(key="ft_steps").set_value(2).run()
    job = start(app)
    wait_until_inactive(job)
    assert job.status.state == "finished", job.status.sentence
    app.run()
    assert not app.exception
    header, _ = film_of(app)
    assert header["scoreTitle"] == "Change"
    app.button(key="new").click().run()
    app.button(key="ft_no_sample").click().run()
    assert next(b for b in app.button if b.label == "Start").disabled


def test_the_trained_model_opens_in_explore_at_its_most_telling_head(app: AppTest) -> None:
    task = find("induction")
    schedule = replace(task.schedule, steps=4, batch_size=4, snapshots=2, checkpoints=1)
    job = jobs.create(settings_for(task, schedule=schedule))
    run(job)
    app.query_params["job"] = job.name
    app.run()
    header, arrays = film_of(app)
    best = header["heads"][int(arrays["scores"][-1].argmax())]
    assert header["selected"] == [best["layer"], best["head"]]
    app.button(key="explore").click().run()
    assert not app.exception
    assert app.session_state["model"] == str(job.model)
    assert app.session_state["layer"] == best["layer"]
    assert app.session_state["head"] == best["head"]
