"""Model work, one piece at a time, shared by everybody who looks.

A page asks for a value by its key. If the value is in the cache it comes at once, if somebody else
is already waiting for it both get the same one, and otherwise it joins the queue. A job runs only
while somebody waits for it, so what a person has turned away from costs nothing; a rerun that asks
again within a moment keeps its place.

    executor = Executor()
    cache = LRUCache()
    trace = executor.run(("gpt2", text), lambda job: model.trace(text), cache, report)

Long work has steps, between which it ends when nobody wants it any more:

    def action(job):
        for layer in layers:
            job.check()                      # ends here if nobody waits any longer
            measure(layer)

This is not ``st.cache_resource`` with a lock, because a cached function can be asked neither
"is it there?" (a hit would queue behind other people's work) nor "how long is the queue?", and
somebody waiting for its lock can't be interrupted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from attnviz.errors import AttnVizError
from attnviz.ui.lru_cache import Key, LRUCache

log = logging.getLogger("attnviz")

Report = Callable[[int], None]  # called with the number of people in front; 0 when it runs

QUIET_SECONDS = 0.15  # work shorter than this shows no place in the queue: it would only flicker
REPORT_SECONDS = 0.2
GRACE_SECONDS = 3.0  # a rerun that comes back within this time keeps its place
IDLE_SECONDS = 1.0  # without work for so long, a worker calls ``on_idle``


class Abandoned(Exception):
    """Nobody waits for this work any longer."""


@dataclass(eq=False)
class Job:
    """One piece of work and the people waiting for it; its action is given it."""

    key: Key
    action: Callable[[Job], Any]
    cache: LRUCache
    changed: threading.Condition = field(repr=False)
    waiters: int = 0
    left_at: float = 0.0  # when the last person turned away
    abandoned: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: Exception | None = None

    def wanted(self) -> bool:
        """Whether somebody waits, or has only just left and may come back."""
        return self.waiters > 0 or time.monotonic() - self.left_at < GRACE_SECONDS

    def check(self) -> None:
        """A place to stop at, between two steps of the action.

        Raises:
            Abandoned: nobody wants the result. Let it pass: who asks later starts anew.
        """
        with self.changed:
            self.abandoned = self.abandoned or not self.wanted()
            if self.abandoned:
                raise Abandoned


class Executor:
    """A bounded queue of jobs and the few threads that work it off.

    Args:
        workers: how many jobs run at once. One forward pass uses every core, so 1 is best.
        longest_queue: more waiting jobs than this are refused with a sentence.
        on_idle: called once by a worker that has had nothing to do for a moment.
    """

    def __init__(
        self,
        workers: int = 1,
        longest_queue: int = 32,
        on_idle: Callable[[], None] = lambda: None,
        name: str = "model-work",
    ) -> None:
        self.longest_queue = longest_queue
        self._on_idle = on_idle
        self._queue: list[Job] = []
        self._running: list[Job] = []
        self._changed = threading.Condition()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def run(
        self,
        key: Key,
        action: Callable[[Job], Any],
        cache: LRUCache,
        report: Report,
    ) -> Any:
        """The value of ``action``, from the cache if it is there, else when its turn has come.

        ``report`` is called from this thread a few times a second while it waits. When it raises,
        as Streamlit does to stop or rerun a page, the wait ends and the job is let go.

        Args:
            action: given its `Job`.

        Raises:
            AttnVizError: the queue is full.
            Exception: whatever ``action`` raised.
        """
        while True:
            try:
                return cache.get(key)
            except KeyError:
                pass
            job = self._join(key, action, cache)
            try:
                self._wait(job, report)
            finally:
                self._leave(job)
            if isinstance(job.error, Abandoned):
                continue  # it was given up at the moment at which we came
            if job.error is not None:
                raise job.error
            return job.value

    def _wait(self, job: Job, report: Report) -> None:
        """Until the job is done."""
        patience = QUIET_SECONDS
        while not job.done.wait(patience):
            report(self.ahead_of(job))
            patience = REPORT_SECONDS

    def ahead_of(self, job: Job) -> int:
        """How many jobs run or wait before this one; 0 when it runs itself."""
        with self._changed:
            if job not in self._queue:
                return 0
            before = self._queue[: self._queue.index(job)]
            return len(self._running) + sum(other.waiters > 0 for other in before)

    def _join(self, key: Key, action: Callable[[Job], Any], cache: LRUCache) -> Job:
        with self._changed:
            self._forget_abandoned()
            for job in (*self._running, *self._queue):
                if job.key == key and job.cache is cache and not job.abandoned:
                    break
            else:
                if sum(job.waiters > 0 for job in self._queue) >= self.longest_queue:
                    raise AttnVizError(
                        f"{self.longest_queue} requests are already waiting for the model.",
                        "Try again in a moment.",
                    )
                job = Job(key, action, cache, self._changed)
                self._queue.append(job)
            job.waiters += 1
            self._changed.notify_all()
            return job

    def _leave(self, job: Job) -> None:
        with self._changed:
            job.waiters -= 1
            job.left_at = time.monotonic()

    def _forget_abandoned(self) -> None:
        self._queue = [job for job in self._queue if job.wanted()]

    def _next(self) -> Job:
        """The first job that somebody waits for."""
        idle: float | None = IDLE_SECONDS
        with self._changed:
            while True:
                self._forget_abandoned()
                for job in self._queue:
                    if job.waiters > 0:
                        self._queue.remove(job)
                        self._running.append(job)
                        return job
                if not self._changed.wait(idle):
                    idle = None
                    self._changed.release()
                    try:
                        self._on_idle()
                    except Exception as error:  # as a GPU's after its driver failed
                        log.error("a worker at rest", exc_info=error)
                    finally:
                        self._changed.acquire()

    def _work(self) -> None:
        while True:
            job = self._next()
            try:
                try:
                    job.value = job.cache.get(job.key)  # came while this job was queued
                except KeyError:
                    job.value = job.action(job)
                    job.cache.put(job.key, job.value)
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
