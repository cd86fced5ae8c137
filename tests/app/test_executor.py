"""The queue for model work: sharing, places, turning away, limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from attnviz.errors import AttnVizError
from attnviz.ui.executor import GRACE_SECONDS, Executor, Job
from attnviz.ui.lru_cache import Key, LRUCache

SOON = 20.0  # seconds; only ever waited for when something is broken


class TurnedAway(BaseException):
    """Like Streamlit's RerunException: no Exception."""


def quiet(ahead: int) -> None:
    """A report that nobody reads."""


class Person(threading.Thread):
    """Somebody who asks for one value, and may turn away while waiting."""

    def __init__(
        self, executor: Executor, key: str, action: Callable[[Job], Any], cache: LRUCache
    ) -> None:
        super().__init__(daemon=True)
        self.ask = lambda: executor.run((key,), action, cache, self.report)
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

    def wait_in_queue(self) -> None:
        assert self.reported.wait(SOON)


class Gate:
    """Work that takes until it is let through, and counts how often it was done."""

    def __init__(self, value: Any = None) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.times = 0
        self.value = value

    def __call__(self, job: Job) -> Any:
        self.times += 1
        self.begun.set()
        assert self.open.wait(SOON)
        return self.value


def test_a_value_is_computed_once_and_then_comes_from_the_cache() -> None:
    executor, cache, calls = Executor(), LRUCache(), []
    for _ in range(3):
        assert executor.run(("a",), lambda job: calls.append(1) or "value", cache, quiet) == "value"
    assert calls == [1]


def test_two_who_ask_for_the_same_share_one_computation() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate("shared")
    first = Person(executor, "a", gate, cache)
    assert gate.begun.wait(SOON)
    second = Person(executor, "a", gate, cache)
    second.wait_in_queue()
    gate.open.set()
    assert (first.finish(), second.finish(), gate.times) == ("shared", "shared", 1)


def test_those_who_wait_see_their_place_and_a_hit_waits_for_nobody() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate()
    executor.run(("known",), lambda job: 7, cache, quiet)
    first = Person(executor, "first", gate, cache)
    assert gate.begun.wait(SOON)
    second = Person(executor, "second", lambda job: 2, cache)
    second.wait_in_queue()
    third = Person(executor, "third", lambda job: 3, cache)
    third.wait_in_queue()
    assert executor.run(("known",), lambda job: pytest.fail("computed again"), cache, quiet) == 7
    first.wait_in_queue()
    gate.open.set()
    assert (second.finish(), third.finish()) == (2, 3)
    assert (first.places[0], second.places[0], third.places[0]) == (0, 1, 2)


def test_what_a_person_turned_away_from_is_never_run() -> None:
    executor, cache, gate, left = Executor(), LRUCache(), Gate(), Gate()
    busy = Person(executor, "busy", gate, cache)
    assert gate.begun.wait(SOON)
    leaver = Person(executor, "left", left, cache)
    leaver.leave.set()
    leaver.finish()
    assert isinstance(leaver.raised, TurnedAway)
    stayer = Person(executor, "stays", lambda job: "done", cache)
    gate.open.set()
    assert stayer.finish() == "done"
    busy.finish()
    assert left.times == 0


def test_a_rerun_that_asks_again_keeps_its_place() -> None:
    executor, cache, gate, order = Executor(), LRUCache(), Gate(), []
    busy = Person(executor, "busy", gate, cache)
    assert gate.begun.wait(SOON)
    mine = Person(executor, "mine", lambda job: order.append("mine"), cache)
    mine.wait_in_queue()
    other = Person(executor, "other", lambda job: order.append("other"), cache)
    other.wait_in_queue()
    mine.leave.set()
    mine.finish()
    again = Person(executor, "mine", lambda job: order.append("mine"), cache)
    again.wait_in_queue()
    gate.open.set()
    for person in (busy, again, other):
        person.finish()
    assert order == ["mine", "other"]


def test_what_was_left_longer_than_the_grace_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate()
    busy = Person(executor, "busy", gate, cache)
    assert gate.begun.wait(SOON)
    leaver = Person(executor, "left", lambda job: None, cache)
    leaver.leave.set()
    leaver.finish()
    later = time.monotonic() + GRACE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    executor._forget_abandoned()
    assert executor._queue == []
    monkeypatch.undo()
    gate.open.set()
    busy.finish()


def test_work_that_goes_on_after_everybody_left_is_kept() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate("kept")
    person = Person(executor, "a", gate, cache)
    person.leave.set()
    person.finish()
    assert isinstance(person.raised, TurnedAway)
    gate.open.set()
    assert executor.run(("a",), lambda job: pytest.fail("computed again"), cache, quiet) == "kept"


def test_an_error_reaches_everybody_who_waited_and_is_not_kept() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate()

    def fails(job: Job) -> None:
        gate(job)
        raise AttnVizError("The file is broken.")

    people = [Person(executor, "a", fails, cache) for _ in range(2)]
    for person in people:
        person.wait_in_queue()
    gate.open.set()
    for person in people:
        person.finish()
        assert str(person.raised) == "The file is broken."
    assert executor.run(("a",), lambda job: "mended", cache, quiet) == "mended"


def test_a_full_queue_is_refused_with_a_sentence() -> None:
    executor, cache, gate = Executor(longest_queue=1), LRUCache(), Gate()
    people = [Person(executor, "busy", gate, cache)]
    assert gate.begun.wait(SOON)
    people.append(Person(executor, "waits", lambda job: None, cache))
    people[1].wait_in_queue()
    with pytest.raises(AttnVizError, match="already waiting"):
        executor.run(("too many",), lambda job: None, cache, quiet)
    gate.open.set()
    for person in people:
        person.finish()


def test_no_more_jobs_run_at_once_than_there_are_workers() -> None:
    executor, cache = Executor(workers=2), LRUCache()
    lock, now, most = threading.Lock(), 0, 0

    def work(job: Job) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    people = [Person(executor, str(i), work, cache) for i in range(12)]
    for person in people:
        person.finish()
    assert most == 2


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), TurnedAway("gone")])
def test_the_worker_outlives_whatever_its_work_raises(error: BaseException) -> None:
    def work(job: Job) -> None:
        raise error

    executor, cache = Executor(), LRUCache()
    person = Person(executor, "bad", work, cache)
    person.finish()
    # an Exception, so that it ends as a sentence on the page and not as the end of its thread
    assert isinstance(person.raised, Exception)
    assert type(error).__name__ in str(person.raised)
    assert Person(executor, "next", lambda job: "fine", cache).finish() == "fine"


def test_work_in_steps_ends_when_nobody_waits_and_begins_anew_for_who_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor, cache, left, ended = Executor(), LRUCache(), threading.Event(), threading.Event()
    begun = []

    def steps(job: Job) -> str:
        begun.append(job)
        assert left.wait(SOON)
        try:
            job.check()
        except BaseException:
            ended.set()
            raise
        return "done"

    leaver = Person(executor, "a", steps, cache)
    leaver.leave.set()
    leaver.finish()
    later = time.monotonic() + GRACE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    left.set()
    assert ended.wait(SOON)
    monkeypatch.undo()
    assert ("a",) not in cache
    assert executor.run(("a",), steps, cache, quiet) == "done"
    assert len(begun) == 2


def test_who_comes_when_the_work_is_being_given_up_gets_it_all_the_same() -> None:
    """Between the check that gives it up and its end."""
    executor, cache, given_up, go_on = Executor(), LRUCache(), threading.Event(), threading.Event()
    times = []

    def work(job: Job) -> str:
        times.append(1)
        if len(times) == 1:
            assert go_on.wait(SOON)
            job.left_at = -GRACE_SECONDS  # as if everybody had left long ago
            while True:
                try:
                    job.check()
                except BaseException:
                    given_up.set()
                    assert second_came.wait(SOON)
                    raise
        return "done"

    second_came = threading.Event()
    leaver = Person(executor, "a", work, cache)
    leaver.leave.set()
    leaver.finish()
    go_on.set()
    assert given_up.wait(SOON)
    second = Person(executor, "a", work, cache)
    second.wait_in_queue()
    second_came.set()
    assert second.finish() == "done"


def test_a_worker_without_work_says_so_once() -> None:
    said = threading.Event()
    executor = Executor(on_idle=said.set)
    assert executor.run(("a",), lambda job: 1, LRUCache(), quiet) == 1
    said.clear()
    assert executor.run(("b",), lambda job: 2, LRUCache(), quiet) == 2
    assert said.wait(SOON)


def test_the_worker_outlives_what_it_does_without_work() -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("CUDA error: unspecified launch failure")

    executor, cache = Executor(on_idle=fail), LRUCache()
    assert failed.wait(SOON)
    assert Person(executor, "next", lambda job: "fine", cache).finish() == "fine"


class Emptied(LRUCache):
    """Drops a value right after it was said to be there, as another worker's ``put`` may."""

    def __contains__(self, key: Key) -> bool:
        held = super().__contains__(key)
        self.free(self.nbytes)
        return held


def test_a_value_that_is_dropped_when_its_turn_has_come_is_computed_again() -> None:
    executor, cache, gate = Executor(), Emptied(), Gate("first")
    first = Person(executor, "first", gate, cache)
    assert gate.begun.wait(SOON)
    second = Person(executor, "second", lambda job: b"computed", cache)
    second.wait_in_queue()
    cache.put(("second",), b"put")
    gate.open.set()
    first.finish()
    assert second.finish() in (b"computed", b"put")
    assert second.raised is None
