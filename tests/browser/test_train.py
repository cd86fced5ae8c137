"""The Train page in a real browser: a job started, watched, cancelled, resumed and opened."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from attnviz.canvas.codecs import SignificantDigits
from attnviz.train import jobs, snapshots
from attnviz.train.job import Job
from attnviz.train.run_job import run
from attnviz.train.tasks import find
from attnviz.train.tasks.task import settings_for

ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 120  # torch and transformers are imported on a cold disk
TIMEOUT_MS = 120_000  # a job's process has to start, on two cores that others use
APP = """
import streamlit as st
train, explore = st.Page("pages/train.py"), st.Page("pages/explore.py")
page = st.navigation([train, explore])
st.set_page_config(layout="wide")
page.run()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page beside the one it links to, over a jobs folder of its own."""
    root = tmp_path_factory.mktemp("site")
    (root / "app.py").write_text(APP)
    (root / "pages").symlink_to(ROOT / "pages")
    (root / ".streamlit").symlink_to(ROOT / ".streamlit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    environment = {**os.environ, "ATTNVIZ_JOBS": str(root / "jobs"), "PYTHONPATH": str(ROOT)}
    with (root / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, (root / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", root / "jobs"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def trained(site: tuple[str, Path]) -> Job:
    """Induction over few letters, learned in a few seconds, in the site's jobs."""
    task = find("induction")
    schedule = replace(
        task.schedule, steps=400, batch_size=32, learning_rate=4e-3, snapshots=12, checkpoints=1
    )
    options = {"symbols": 16, "shortest": 6, "longest": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNVIZ_JOBS", str(site[1]))
        job = jobs.create(settings_for(task, options=options, schedule=schedule))
    assert run(job) == 0
    return job


@pytest.fixture
def page(
    browser: Browser, site: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A page of a browser."""
    monkeypatch.setenv("ATTNVIZ_JOBS", str(site[1]))
    context = browser.new_context(viewport={"width": 1440, "height": 1400})
    made = context.new_page()
    made.set_default_timeout(TIMEOUT_MS)
    yield made
    context.close()
    for job in jobs.all():
        if job.is_alive:
            job.cancel()


def number(page: Page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(value)
    box.press("Enter")


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The condition's value, once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    assert found
    return found


def test_a_job_is_started_watched_cancelled_resumed_and_opened(
    page: Page, site: tuple[str, Path]
) -> None:
    page.goto(f"{site[0]}/?door=model&model=tiny-digits")
    before = {job.name for job in jobs.all()}
    # another model is open already, and Explore has to show the trained one all the same
    page.get_by_text("Fine-tuning supports language models only").wait_for()
    page.get_by_text("Train from scratch").click()
    page.get_by_text("Copy", exact=True).click()
    page.wait_for_url(re.compile(r"\?(.*&)?task=copy"))
    expect(page.get_by_text("trainable parameters")).to_be_visible(timeout=TIMEOUT_MS)
    page.get_by_text("Training settings", exact=True).click()
    number(page, "Steps", "3000")
    expect(page.get_by_role("button", name="Start")).to_be_enabled(timeout=TIMEOUT_MS)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Cancel").wait_for()
    (job,) = until(lambda: [job for job in jobs.all() if job.name not in before])

    # the curve and the attention move by themselves
    first = page.get_by_text(re.compile(r"Step [\d,]+ of 3,000 · loss"))
    first.wait_for()
    text = first.inner_text()
    page.wait_for_function("(text) => !document.body.innerText.includes(text)", arg=text)
    until(lambda: len(job.snapshots()) >= 2)
    slider = page.get_by_label("Step", exact=True)
    slider.wait_for()
    shown = slider.get_attribute("aria-valuetext")
    expect(slider).not_to_have_attribute("aria-valuetext", str(shown), timeout=TIMEOUT_MS)
    assert "step=" not in page.url  # it follows the latest

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Resume").wait_for()
    assert job.status.state == "cancelled"
    step = job.status.step
    assert 0 < step < 3000
    page.get_by_text("What it learned").wait_for()

    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    until(lambda: job.status.step > step)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    assert job.status.state == "paused"

    page.get_by_role("button", name="Open in Explore").click()
    page.wait_for_url(re.compile("explore"))
    # Explore reads the newest checkpoint, and the example that is of its own vocabulary
    assert job.model is not None
    summary = page.get_by_text(re.compile(rf"{job.model.name} · 2 layers of 4 heads"))
    expect(summary.first).to_be_visible(timeout=TIMEOUT_MS)
    example = next(e for e in job.events() if e["event"] == "probe")["text"]
    expect(page.get_by_label("Text", exact=True)).to_have_value(example)
    page.get_by_text("Traceback").wait_for(state="detached")


def film(page: Page, code: str, argument: object = None) -> Any:
    """JavaScript with the ``film`` in reach, once it is there."""
    page.locator(".film-root .film").wait_for()
    return page.locator(".film-root").evaluate(
        f"async (root, argument) => {{ const film = root.attnviz; {code} }}", argument
    )


def open_film(page: Page, site: tuple[str, Path], job: Job, link: str = "") -> None:
    page.goto(f"{site[0]}/?job={job.name}{link}")
    page.locator(".film-root .film").wait_for()
    until(lambda: film(page, "return film.shown > 0;"))


def test_play_shows_every_kept_step_without_the_server(
    page: Page, site: tuple[str, Path], trained: Job
) -> None:
    messages: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: messages.append("sent")))
    open_film(page, site, trained)
    steps = [snapshots.step_of(path) for path in trained.snapshots()]
    assert film(page, "return film.header.steps;") == steps
    page.get_by_text(re.compile("became an induction head at step")).wait_for()
    film(
        page,
        """film.seen = []; const show = film.show.bind(film);
        film.show = (i) => { show(i); film.seen.push(film.header.steps[film.frame]); };""",
    )
    page.wait_for_load_state("networkidle")
    messages.clear()
    page.get_by_role("button", name="Play the training").click()
    page.get_by_role("button", name="Pause", exact=True).wait_for()
    page.get_by_role("button", name="Play the training").wait_for()  # the end
    assert film(page, "return film.seen;") == steps
    assert messages == []
    # the map on screen is the last one, as the backend has it
    layer, head = film(page, "return film.header.selected;")
    weights = snapshots.read(trained.snapshots()[-1]).trace.attention(layer, head).weights()
    codes = film(page, "return [...film.map.mode.base.pyramid.tile.codes];")
    shown = np.nan_to_num(SignificantDigits().decode(np.array(codes)))
    assert shown == pytest.approx(weights.flatten().numpy(), rel=6e-4, abs=1e-7)


def test_a_click_on_a_curve_moves_the_slider_and_the_link(
    page: Page, site: tuple[str, Path], trained: Job
) -> None:
    open_film(page, site, trained)
    slider = page.get_by_label("Step", exact=True)
    expect(slider).to_have_attribute("aria-valuetext", "400 of 400")
    box = page.get_by_label("Loss and scores").locator("canvas.picture").nth(1).bounding_box()
    assert box is not None
    x, y = film(
        page, "const p = film.scores.mode; return [p._left(200), (p.plot.top + p.plot.bottom) / 2];"
    )
    page.mouse.click(box["x"] + x, box["y"] + y)
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^(200|201|202) of 400"))
    step = film(page, "return film.header.steps[film.frame];")
    page.wait_for_url(re.compile(rf"step={step}\b"))
    # all views are of this step
    assert film(page, "return [film.training.mode.header.at, film.scores.mode.header.at];") == [
        step,
        step,
    ]
    assert film(page, "return film.map.stage.title;").endswith(f"step {step}")
    # Back and Forward go from step to step
    page.go_back()
    expect(slider).to_have_attribute("aria-valuetext", "400 of 400", timeout=TIMEOUT_MS)
    page.go_forward()
    expect(slider).to_have_attribute("aria-valuetext", f"{step} of 400", timeout=TIMEOUT_MS)
    # and the link opens there
    page.reload()
    expect(slider).to_have_attribute("aria-valuetext", f"{step} of 400", timeout=TIMEOUT_MS)
    # by keys
    slider.focus()
    slider.press("ArrowLeft")
    assert film(page, "return film.header.steps[film.frame];") < step
    slider.press(" ")
    page.get_by_role("button", name="Pause", exact=True).wait_for()
    slider.press(" ")
    page.get_by_role("button", name="Play the training").wait_for()


def test_a_click_on_a_head_shows_its_map_and_is_in_the_link(
    page: Page, site: tuple[str, Path], trained: Job
) -> None:
    open_film(page, site, trained, "&watch=0.1")
    page.get_by_text(re.compile(r"Layer 0, head 1 · induction score")).wait_for()
    x, y = film(
        page,
        "const h = film.grid.mode.shown.find((h) => h.layer === 1 && h.head === 2);"
        "return [h.x + h.w / 2, h.y + h.h / 2];",
    )
    page.get_by_label("All heads").locator("canvas.picture").first.click(position={"x": x, "y": y})
    page.get_by_text(re.compile(r"Layer 1, head 2 · induction score")).wait_for()
    page.wait_for_url(re.compile(r"watch=1\.2"))


def test_less_motion_is_slower(browser: Browser, site: tuple[str, Path], trained: Job) -> None:
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    open_film(page, site, trained)
    page.get_by_label("Speed").select_option("4")
    waits = film(
        page,
        """const waits = []; const set = window.setTimeout;
        window.setTimeout = (f, ms) => { waits.push(ms); return set(f, ms); };
        film.play(); film.pause(); window.setTimeout = set; return waits;""",
    )
    assert 1000 in waits
    context.close()


def test_a_click_on_a_runs_picture_opens_it(
    page: Page, site: tuple[str, Path], trained: Job
) -> None:
    page.goto(site[0])
    card = page.locator(f".st-key-run_{trained.name}")
    card.locator("img").wait_for()
    box = card.locator("img").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile(f"job={trained.name}"))
    page.locator(".film-root .film").wait_for()


def test_delete_asks(page: Page, site: tuple[str, Path], trained: Job) -> None:
    page.goto(f"{site[0]}/?job={trained.name}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("This cannot be undone").wait_for()
    assert trained.folder.exists()
    page.keyboard.press("Escape")
    page.get_by_text("This cannot be undone").wait_for(state="hidden")
    assert trained.folder.exists()
