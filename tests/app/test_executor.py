"""The line for model work: sharing, places, turning away, limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from attnviz.errors import AttnVizError
from attnviz.ui.executor import GRACE_SECONDS, Executor, Shelf

SOON = 20.0  # seconds; only ever waited for when something is broken


class TurnedAway(BaseException):
    """Like Streamlit's RerunException: no Exception."""


def quiet(ahead: int) -> None:
    """A report that nobody reads."""


class Person(threading.Thread):
    """Somebody who asks for one value, and may turn away while waiting."""

    def __init__(
        self, executor: Executor, key: str, action: Callable[[], Any], shelf: Shelf
    ) -> None:
        super().__init__(daemon=True)
        self.ask = lambda: executor.run((key,), action, shelf, self.report)
        self.places: list[int] = []
        self.value: Any = None
        self.raised: BaseException | None = None
        self.reported = threading.Event()
        self.leave = threading.Event()
        self.start()

    def report(self, ahead: int) -> None:
        self.places.append(ahead)
        self.reported.set()
        if self.leave.is_set():
            raise TurnedAway

    def run(self) -> None:
        try:
            self.value = self.ask()
        except BaseException as error:
            self.raised = error

    def finish(self) -> Any:
        self.join(SOON)
        assert not self.is_alive()
        return self.value

    def wait_in_line(self) -> None:
        assert self.reported.wait(SOON)


class Gate:
    """Work that takes until it is let through, and counts how often it was done."""

    def __init__(self, value: Any = None) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.times = 0
        self.value = value

    def __call__(self) -> Any:
        self.times += 1
        self.begun.set()
        assert self.open.wait(SOON)
        return self.value


def test_a_value_is_computed_once_and_then_comes_from_the_shelf() -> None:
    executor, shelf, calls = Executor(), Shelf(4), []
    for _ in range(3):
        assert executor.run(("a",), lambda: calls.append(1) or "value", shelf, quiet) == "value"
    assert calls == [1]


def test_two_who_ask_for_the_same_share_one_computation() -> None:
    executor, shelf, gate = Executor(), Shelf(4), Gate("shared")
    first = Person(executor, "a", gate, shelf)
    assert gate.begun.wait(SOON)
    second = Person(executor, "a", gate, shelf)
    second.wait_in_line()
    gate.open.set()
    assert (first.finish(), second.finish(), gate.times) == ("shared", "shared", 1)


def test_those_who_wait_see_their_place_and_a_hit_waits_for_nobody() -> None:
    executor, shelf, gate = Executor(), Shelf(4), Gate()
    executor.run(("known",), lambda: 7, shelf, quiet)
    first = Person(executor, "first", gate, shelf)
    assert gate.begun.wait(SOON)
    second = Person(executor, "second", lambda: 2, shelf)
    second.wait_in_line()
    third = Person(executor, "third", lambda: 3, shelf)
    third.wait_in_line()
    assert executor.run(("known",), lambda: pytest.fail("computed again"), shelf, quiet) == 7
    first.wait_in_line()
    gate.open.set()
    assert (second.finish(), third.finish()) == (2, 3)
    assert (first.places[0], second.places[0], third.places[0]) == (0, 1, 2)


def test_what_a_person_turned_away_from_is_never_run() -> None:
    executor, shelf, gate, left = Executor(), Shelf(4), Gate(), Gate()
    busy = Person(executor, "busy", gate, shelf)
    assert gate.begun.wait(SOON)
    leaver = Person(executor, "left", left, shelf)
    leaver.leave.set()
    leaver.finish()
    assert isinstance(leaver.raised, TurnedAway)
    stayer = Person(executor, "stays", lambda: "done", shelf)
    gate.open.set()
    assert stayer.finish() == "done"
    busy.finish()
    assert left.times == 0


def test_a_rerun_that_asks_again_keeps_its_place() -> None:
    executor, shelf, gate, order = Executor(), Shelf(4), Gate(), []
    busy = Person(executor, "busy", gate, shelf)
    assert gate.begun.wait(SOON)
    mine = Person(executor, "mine", lambda: order.append("mine"), shelf)
    mine.wait_in_line()
    other = Person(executor, "other", lambda: order.append("other"), shelf)
    other.wait_in_line()
    mine.leave.set()
    mine.finish()
    again = Person(executor, "mine", lambda: order.append("mine"), shelf)
    again.wait_in_line()
    gate.open.set()
    for person in (busy, again, other):
        person.finish()
    assert order == ["mine", "other"]


def test_what_was_left_longer_than_the_grace_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, shelf, gate = Executor(), Shelf(4), Gate()
    busy = Person(executor, "busy", gate, shelf)
    assert gate.begun.wait(SOON)
    leaver = Person(executor, "left", lambda: None, shelf)
    leaver.leave.set()
    leaver.finish()
    later = time.monotonic() + GRACE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    executor._forget_abandoned()
    assert executor._line == []
    monkeypatch.undo()
    gate.open.set()
    busy.finish()


def test_work_that_goes_on_after_everybody_left_is_kept() -> None:
    executor, shelf, gate = Executor(), Shelf(4), Gate("kept")
    person = Person(executor, "a", gate, shelf)
    person.leave.set()
    person.finish()
    assert isinstance(person.raised, TurnedAway)
    gate.open.set()
    assert executor.run(("a",), lambda: pytest.fail("computed again"), shelf, quiet) == "kept"


def test_an_error_reaches_everybody_who_waited_and_is_not_kept() -> None:
    executor, shelf, gate = Executor(), Shelf(4), Gate()

    def fails() -> None:
        gate()
        raise AttnVizError("The file is broken.")

    people = [Person(executor, "a", fails, shelf) for _ in range(2)]
    for person in people:
        person.wait_in_line()
    gate.open.set()
    for person in people:
        person.finish()
        assert str(person.raised) == "The file is broken."
    assert executor.run(("a",), lambda: "mended", shelf, quiet) == "mended"


def test_a_full_line_is_refused_with_a_sentence() -> None:
    executor, shelf, gate = Executor(longest_line=1), Shelf(4), Gate()
    people = [Person(executor, "busy", gate, shelf)]
    assert gate.begun.wait(SOON)
    people.append(Person(executor, "waits", lambda: None, shelf))
    people[1].wait_in_line()
    with pytest.raises(AttnVizError, match="already waiting"):
        executor.run(("too many",), lambda: None, shelf, quiet)
    gate.open.set()
    for person in people:
        person.finish()


def test_no_more_jobs_run_at_once_than_there_are_workers() -> None:
    executor, shelf = Executor(workers=2), Shelf(32)
    lock, now, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    people = [Person(executor, str(i), work, shelf) for i in range(12)]
    for person in people:
        person.finish()
    assert most == 2


def test_a_shelf_drops_what_was_not_used_for_longest() -> None:
    shelf = Shelf(max_entries=2)
    shelf.put(("a",), 1)
    shelf.put(("b",), 2)
    shelf.get(("a",))
    shelf.put(("c",), 3)
    assert (("a",) in shelf, ("b",) in shelf, ("c",) in shelf) == (True, False, True)
    shelf.make_room()
    assert len(shelf) == 1
    assert ("c",) in shelf


def test_a_shelf_stays_under_its_bytes_but_keeps_the_newest() -> None:
    shelf = Shelf(max_entries=10, max_bytes=100, size_of=len)
    shelf.put(("a",), b"x" * 60)
    shelf.put(("b",), b"x" * 30)
    assert len(shelf) == 2
    shelf.put(("c",), b"x" * 30)
    assert ("a",) not in shelf
    shelf.put(("d",), b"x" * 500)
    assert len(shelf) == 1
    assert ("d",) in shelf


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), TurnedAway("gone")])
def test_the_worker_outlives_whatever_its_work_raises(error: BaseException) -> None:
    def work() -> None:
        raise error

    executor, shelf = Executor(), Shelf(4)
    person = Person(executor, "bad", work, shelf)
    person.finish()
    # an Exception, so that it ends as a sentence on the page and not as the end of its thread
    assert isinstance(person.raised, Exception)
    assert type(error).__name__ in str(person.raised)
    assert Person(executor, "next", lambda: "fine", shelf).finish() == "fine"
