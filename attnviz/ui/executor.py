"""Model work, one piece at a time, shared by everybody who looks.

A page asks for a value by its key. If the value is on a shelf it comes at once, if somebody else is
already waiting for it both get the same one, and otherwise it joins the line. A job runs only
while somebody waits for it, so what a person has turned away from costs nothing; a rerun that asks
again within a moment keeps its place.

    executor = Executor(workers=1)
    traces = Shelf(max_entries=16)
    trace = executor.run(("gpt2", text), lambda: model.trace(text), traces, report)

This is not ``st.cache_resource`` with a lock, because a cached function can be asked neither
"is it there?" (a hit would queue behind other people's work) nor "how long is the line?", and
somebody waiting for its lock can't be interrupted.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from attnviz.errors import AttnVizError

Key = tuple[Hashable, ...]
Report = Callable[[int], None]  # called with the number of people in front; 0 when it runs

QUIET_SECONDS = 0.15  # work shorter than this shows no waiting line: it would only flicker
REPORT_SECONDS = 0.2
GRACE_SECONDS = 3.0  # a rerun that comes back within this time keeps its place


class Shelf:
    """Finished values, the least recently used dropped first.

    Args:
        max_entries: how many values are kept.
        max_bytes: how large they may be together; the newest is always kept.
        size_of: bytes of one value.
        on_change: called after a value was put or dropped, outside any lock.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: int | None = None,
        size_of: Callable[[Any], int] = lambda value: 0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.size_of = size_of
        self.on_change = on_change
        self._values: OrderedDict[Key, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._values

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)

    def get(self, key: Key) -> Any:
        """The value under ``key``; KeyError if it isn't there."""
        with self._lock:
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Key, value: Any) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            self._drop(self.max_entries)
        self.on_change()

    def make_room(self) -> None:
        """Drop what a next value would push out, before that value takes memory of its own."""
        with self._lock:
            self._drop(self.max_entries - 1)
        self.on_change()

    def _drop(self, entries: int) -> None:
        while len(self._values) > entries:
            self._values.popitem(last=False)
        if self.max_bytes is not None:
            total = sum(self.size_of(value) for value in self._values.values())
            while total > self.max_bytes and len(self._values) > 1:
                total -= self.size_of(self._values.popitem(last=False)[1])


@dataclass(eq=False)
class Job:
    """One piece of work and the people waiting for it."""

    key: Key
    action: Callable[[], Any]
    shelf: Shelf
    waiters: int = 0
    left_at: float = 0.0  # when the last person turned away
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: Exception | None = None


class Executor:
    """A bounded line of jobs and the few threads that work it off.

    Args:
        workers: how many jobs run at once. One forward pass uses every core, so 1 is best.
        longest_line: more waiting jobs than this are refused with a sentence.
    """

    def __init__(self, workers: int = 1, longest_line: int = 32) -> None:
        self.longest_line = longest_line
        self._line: list[Job] = []
        self._running: list[Job] = []
        self._changed = threading.Condition()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"model-work-{number}", daemon=True).start()

    def run(self, key: Key, action: Callable[[], Any], shelf: Shelf, report: Report) -> Any:
        """The value of ``action``, from the shelf if it is there, else when its turn has come.

        ``report`` is called from this thread a few times a second while it waits. When it raises,
        as Streamlit does to stop or rerun a page, the wait ends and the job is let go.

        Raises:
            AttnVizError: the line is full.
            Exception: whatever ``action`` raised.
        """
        try:
            return shelf.get(key)
        except KeyError:
            pass
        job = self._join(key, action, shelf)
        try:
            patience = QUIET_SECONDS
            while not job.done.wait(patience):
                report(self.ahead_of(job))
                patience = REPORT_SECONDS
        finally:
            self._leave(job)
        if job.error is not None:
            raise job.error
        return job.value

    def ahead_of(self, job: Job) -> int:
        """How many jobs run or wait before this one; 0 when it runs itself."""
        with self._changed:
            if job not in self._line:
                return 0
            before = self._line[: self._line.index(job)]
            return len(self._running) + sum(other.waiters > 0 for other in before)

    def _join(self, key: Key, action: Callable[[], Any], shelf: Shelf) -> Job:
        with self._changed:
            self._forget_abandoned()
            for job in (*self._running, *self._line):
                if job.key == key and job.shelf is shelf:
                    break
            else:
                if sum(job.waiters > 0 for job in self._line) >= self.longest_line:
                    raise AttnVizError(
                        f"{self.longest_line} requests are already waiting for the model.",
                        "Try again in a moment.",
                    )
                job = Job(key, action, shelf)
                self._line.append(job)
            job.waiters += 1
            self._changed.notify()
            return job

    def _leave(self, job: Job) -> None:
        with self._changed:
            job.waiters -= 1
            job.left_at = time.monotonic()

    def _forget_abandoned(self) -> None:
        limit = time.monotonic() - GRACE_SECONDS
        self._line = [job for job in self._line if job.waiters > 0 or job.left_at > limit]

    def _next(self) -> Job:
        """The first job that somebody waits for."""
        with self._changed:
            while True:
                self._forget_abandoned()
                for job in self._line:
                    if job.waiters > 0:
                        self._line.remove(job)
                        self._running.append(job)
                        return job
                self._changed.wait()

    def _work(self) -> None:
        while True:
            job = self._next()
            try:
                if job.key in job.shelf:  # came while this job stood in line
                    job.value = job.shelf.get(job.key)
                else:
                    job.value = job.action()
                    job.shelf.put(job.key, job.value)
            except Exception as error:
                job.error = error
            except BaseException as error:  # SystemExit, a panic in Rust: the worker lives on
                job.error = RuntimeError(f"the work ended with {type(error).__name__}: {error}")
                job.error.__cause__ = error
            finally:
                with self._changed:
                    self._running.remove(job)
                job.done.set()
            del job  # a waiting thread must not keep the last value alive
