"""The queue for model work: sharing, positions, abandoned requests, limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from attnviz.errors import AttnVizError
from attnviz.ui.executor import GRACE_SECONDS, Executor, Job, JobStatus
from attnviz.ui.lru_cache import Key, LRUCache

SOON = 20.0  # seconds; only ever waited for when something is broken


class Rerun(BaseException):
    """Like Streamlit's RerunException: not an Exception."""


def quiet(status: JobStatus) -> None:
    """A report that is not shown."""


class Request(threading.Thread):
    """A session that requests one value, and may leave while it waits."""

    def __init__(
        self, executor: Executor, key: str, action: Callable[[Job], Any], cache: LRUCache
    ) -> None:
        super().__init__(daemon=True)
        self.request = lambda: executor.run((key,), action, cache, self.report)
        self.positions: list[int] = []
        self.steps: list[tuple[int, int]] = []
        self.value: Any = None
        self.raised: BaseException | None = None
        self.reported = threading.Event()
        self.leave = threading.Event()
        self.start()

    def report(self, status: JobStatus) -> None:
        self.positions.append(status.ahead)
        self.steps.append((status.done, status.total))
        self.reported.set()
        if self.leave.is_set():
            raise Rerun

    def run(self) -> None:
        try:
            self.value = self.request()
        except BaseException as error:
            self.raised = error

    def finish(self) -> Any:
        self.join(SOON)
        assert not self.is_alive()
        return self.value

    def wait_in_queue(self) -> None:
        assert self.reported.wait(SOON)


class Gate:
    """Work that blocks until it is opened, and counts how often it ran."""

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


def test_two_requests_for_the_same_value_share_one_computation() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate("shared")
    first = Request(executor, "a", gate, cache)
    assert gate.begun.wait(SOON)
    second = Request(executor, "a", gate, cache)
    second.wait_in_queue()
    gate.open.set()
    assert (first.finish(), second.finish(), gate.times) == ("shared", "shared", 1)


def test_waiting_requests_see_their_position_and_a_hit_does_not_wait() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate()
    executor.run(("known",), lambda job: 7, cache, quiet)
    first = Request(executor, "first", gate, cache)
    assert gate.begun.wait(SOON)
    second = Request(executor, "second", lambda job: 2, cache)
    second.wait_in_queue()
    third = Request(executor, "third", lambda job: 3, cache)
    third.wait_in_queue()
    assert executor.run(("known",), lambda job: pytest.fail("computed again"), cache, quiet) == 7
    first.wait_in_queue()
    gate.open.set()
    assert (second.finish(), third.finish()) == (2, 3)
    assert (first.positions[0], second.positions[0], third.positions[0]) == (0, 1, 2)


def test_an_abandoned_request_is_never_run() -> None:
    executor, cache, gate, left = Executor(), LRUCache(), Gate(), Gate()
    busy = Request(executor, "busy", gate, cache)
    assert gate.begun.wait(SOON)
    leaver = Request(executor, "left", left, cache)
    leaver.leave.set()
    leaver.finish()
    assert isinstance(leaver.raised, Rerun)
    stayer = Request(executor, "stays", lambda job: "done", cache)
    gate.open.set()
    assert stayer.finish() == "done"
    busy.finish()
    assert left.times == 0


def test_a_rerun_with_the_same_request_keeps_its_position() -> None:
    executor, cache, gate, order = Executor(), LRUCache(), Gate(), []
    busy = Request(executor, "busy", gate, cache)
    assert gate.begun.wait(SOON)
    mine = Request(executor, "mine", lambda job: order.append("mine"), cache)
    mine.wait_in_queue()
    other = Request(executor, "other", lambda job: order.append("other"), cache)
    other.wait_in_queue()
    mine.leave.set()
    mine.finish()
    again = Request(executor, "mine", lambda job: order.append("mine"), cache)
    again.wait_in_queue()
    gate.open.set()
    for person in (busy, again, other):
        person.finish()
    assert order == ["mine", "other"]


def test_a_request_abandoned_for_too_long_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate()
    busy = Request(executor, "busy", gate, cache)
    assert gate.begun.wait(SOON)
    leaver = Request(executor, "left", lambda job: None, cache)
    leaver.leave.set()
    leaver.finish()
    later = time.monotonic() + GRACE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    executor._forget_abandoned()
    assert executor._queue == []
    monkeypatch.undo()
    gate.open.set()
    busy.finish()


def test_a_job_that_finishes_after_its_last_request_left_is_cached() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate("kept")
    person = Request(executor, "a", gate, cache)
    person.leave.set()
    person.finish()
    assert isinstance(person.raised, Rerun)
    gate.open.set()
    assert executor.run(("a",), lambda job: pytest.fail("computed again"), cache, quiet) == "kept"


def test_an_error_reaches_every_request_and_is_not_cached() -> None:
    executor, cache, gate = Executor(), LRUCache(), Gate()

    def fails(job: Job) -> None:
        gate(job)
        raise AttnVizError("The file is broken.")

    people = [Request(executor, "a", fails, cache) for _ in range(2)]
    for person in people:
        person.wait_in_queue()
    gate.open.set()
    for person in people:
        person.finish()
        assert str(person.raised) == "The file is broken."
    assert executor.run(("a",), lambda job: "mended", cache, quiet) == "mended"


def test_a_full_queue_refuses_with_a_message() -> None:
    executor, cache, gate = Executor(longest_queue=1), LRUCache(), Gate()
    people = [Request(executor, "busy", gate, cache)]
    assert gate.begun.wait(SOON)
    people.append(Request(executor, "waits", lambda job: None, cache))
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

    people = [Request(executor, str(i), work, cache) for i in range(12)]
    for person in people:
        person.finish()
    assert most == 2


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Rerun("gone")])
def test_the_worker_outlives_any_exception_of_a_job(error: BaseException) -> None:
    def work(job: Job) -> None:
        raise error

    executor, cache = Executor(), LRUCache()
    person = Request(executor, "bad", work, cache)
    person.finish()
    # an Exception, so that it ends as a sentence on the page and not as the end of its thread
    assert isinstance(person.raised, Exception)
    assert type(error).__name__ in str(person.raised)
    assert Request(executor, "next", lambda job: "fine", cache).finish() == "fine"


def test_an_abandoned_job_ends_between_steps_and_a_later_request_starts_anew(
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

    leaver = Request(executor, "a", steps, cache)
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


def test_a_request_that_joins_a_job_being_abandoned_gets_its_value() -> None:
    """Between the check that abandons the job and its end."""
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
    leaver = Request(executor, "a", work, cache)
    leaver.leave.set()
    leaver.finish()
    go_on.set()
    assert given_up.wait(SOON)
    second = Request(executor, "a", work, cache)
    second.wait_in_queue()
    second_came.set()
    assert second.finish() == "done"


def test_an_idle_worker_calls_on_idle_once() -> None:
    said = threading.Event()
    executor = Executor(on_idle=said.set)
    assert executor.run(("a",), lambda job: 1, LRUCache(), quiet) == 1
    said.clear()
    assert executor.run(("b",), lambda job: 2, LRUCache(), quiet) == 2
    assert said.wait(SOON)


def test_the_worker_outlives_an_error_of_on_idle() -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("CUDA error: unspecified launch failure")

    executor, cache = Executor(on_idle=fail), LRUCache()
    assert failed.wait(SOON)
    assert Request(executor, "next", lambda job: "fine", cache).finish() == "fine"


class Emptied(LRUCache):
    """Drops a value right after a membership test, as another worker's ``put`` may."""

    def __contains__(self, key: Key) -> bool:
        held = super().__contains__(key)
        self.free(self.nbytes)
        return held


def test_a_value_dropped_before_its_job_runs_is_computed_again() -> None:
    executor, cache, gate = Executor(), Emptied(), Gate("first")
    first = Request(executor, "first", gate, cache)
    assert gate.begun.wait(SOON)
    second = Request(executor, "second", lambda job: b"computed", cache)
    second.wait_in_queue()
    cache.put(("second",), b"put")
    gate.open.set()
    first.finish()
    assert second.finish() in (b"computed", b"put")
    assert second.raised is None


def test_steps_are_reported_and_end_when_no_page_waits() -> None:
    """As a trace's layers: a page that left takes its trace along."""
    executor, cache = Executor(), LRUCache()
    steps: list[int] = []
    seen = threading.Event()

    def action(job: Job) -> None:
        for n in range(1, 1000):
            steps.append(n)
            job.step(n, 1000)
            seen.wait(0.05)

    one = Request(executor, "counts", action, cache)
    deadline = time.monotonic() + SOON
    while not any(done for done, _ in one.steps) and time.monotonic() < deadline:
        one.leave.wait(0.01)
    assert one.steps[-1][1] == 1000 and 0 < one.steps[-1][0] <= len(steps)
    one.leave.set()
    assert one.finish() is None and isinstance(one.raised, Rerun)
    assert executor.run(("after",), lambda job: len(steps), cache, quiet) < 999
