from __future__ import annotations

import math
from pathlib import Path

from attnviz.train import events


def test_a_torn_line_is_closed_and_left_out(tmp_path: Path) -> None:
    events.append(tmp_path, "step", 1, loss=2.0)
    with (tmp_path / events.FILE).open("a") as file:
        file.write('{"event": "step", "step": 2, "lo')  # what a kill leaves
    events.append(tmp_path, "step", 3, loss=1.0)
    assert [e["step"] for e in events.read(tmp_path)] == [1, 3]


def test_what_is_done_again_after_resuming_is_there_once(tmp_path: Path) -> None:
    events.append(tmp_path, "state", 0, state="running")
    for step in range(1, 6):
        events.append(tmp_path, "step", step, loss=float(step))
    events.append(tmp_path, "resumed", 3)
    for step in range(4, 7):
        events.append(tmp_path, "step", step, loss=10.0 + step)
    happened = events.read(tmp_path)
    losses = {e["step"]: e["loss"] for e in events.of_kind(happened, "step")}
    assert losses == {1: 1.0, 2: 2.0, 3: 3.0, 4: 14.0, 5: 15.0, 6: 16.0}
    assert len(events.of_kind(happened, "state")) == 1


def test_no_number_is_null(tmp_path: Path) -> None:
    events.append(tmp_path, "step", 1, loss=math.nan)
    assert events.read(tmp_path)[0]["loss"] is None
    assert "NaN" not in (tmp_path / events.FILE).read_text()


def test_no_events_yet(tmp_path: Path) -> None:
    assert events.read(tmp_path) == ()
