from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz.errors import AttnVizError
from attnviz.train.settings import (
    FinetuneWork,
    JobSettings,
    Limits,
    Schedule,
    TaskWork,
)

TASK = JobSettings(
    "Ünïcode", TaskWork("copy", {"symbols": 8}, {"n_heads": 2}), Schedule(snapshot_steps=(0, 5))
)
FINETUNE = JobSettings(
    "b", FinetuneWork("gpt2", "a.txt", method="last"), limits=Limits(minutes=3), device="cuda:1"
)


@pytest.mark.parametrize("settings", [TASK, FINETUNE])
def test_json_gives_back_the_same_settings(settings: JobSettings) -> None:
    assert JobSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"work": {"kind": "magic"}}, "magic"),
        ({"schedule": {"steps": 0}}, "steps is 0"),
        ({"schedule": {"stepps": 3}}, "stepps"),
        ({"schedule": {"decay": "wild"}}, "wild"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, object], words: str) -> None:
    values = {**json.loads(TASK.to_json()), **change}
    with pytest.raises(AttnVizError, match=words):
        JobSettings.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"work": 3}'])
def test_no_job_json(text: str) -> None:
    with pytest.raises(AttnVizError, match="no training job"):
        JobSettings.from_json(text)


@given(st.integers(1, 5000), st.integers(1, 60))
def test_marks_are_points_of_the_loss_curve_and_end_with_the_last_step(
    steps: int, count: int
) -> None:
    schedule = replace(Schedule(), steps=steps, checkpoints=count, evaluations=count)
    marks = schedule.checkpoint_at
    assert max(marks) == steps
    assert 1 <= len(marks) <= count
    assert all(m % schedule.log_every == 0 or m == steps for m in marks)


def test_snapshots_begin_before_the_first_step() -> None:
    assert Schedule(steps=100, snapshots=4).snapshot_at == {0, 25, 50, 75, 100}
    assert Schedule(steps=100, snapshots=0).snapshot_at == frozenset()
    assert Schedule(snapshot_steps=(3, 7)).snapshot_at == {3, 7}
