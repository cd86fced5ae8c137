"""One queue for model work, shared by all sessions of the server.

A page requests a value by its key. A cached value is returned at once; a value that another page
already waits for is computed once for both; anything else joins the queue. A job runs only while a
page waits for it, so a page that was left or rerun with other settings costs nothing. A rerun that
requests the same within a moment keeps its position.

    executor = Executor()
    cache = LRUCache()
    trace = executor.run(("gpt2", text), lambda job: model.trace(text), cache, report)

Long work checks between its steps whether it is still wanted:

    def action(job):
        for layer in layers:
            job.check()                      # raises Abandoned if no page waits any longer
            measure(layer)

``st.cache_resource`` with a lock would not do: there is no way to test for a cached value (a hit
would queue behind other sessions' work) or to read the length of the queue, and Streamlit can't
interrupt a script that waits for a lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from attnviz.errors import AttnVizError
from attnviz.ui.lru_cache import Key, LRUCache

log = logging.getLogger("attnviz")


QUIET_SECONDS = 0.15  # shorter work is not reported: the message would only flicker
REPORT_SECONDS = 0.2
GRACE_SECONDS = 3.0  # a rerun that comes back within this time keeps its position
IDLE_SECONDS = 1.0  # without work for this long, a worker calls ``on_idle``


class JobStatus(NamedTuple):
    """Where a request is.

    Attributes:
        ahead: the number of requests in front of it; 0 when it runs.
        done: its steps so far. total: of how many; 0 if it doesn't count them.
    """

    ahead: int
    done: int = 0
    total: int = 0


Report = Callable[[JobStatus], None]


class Abandoned(Exception):
    """No page waits for this work any longer."""


@dataclass(eq=False)
class Job:
    """One piece of work, which is passed to its action, and the pages that wait for it.

    Attributes:
        done_steps: as its action counts them. total_steps: of how many; 0 if it doesn't count.
        waiters: how many threads wait for the result.
        left_at: when the last of them left.
    """

    key: Key
    action: Callable[[Job], Any]
    cache: LRUCache
    changed: threading.Condition = field(repr=False)
    done_steps: int = 0
    total_steps: int = 0
    waiters: int = 0
    left_at: float = 0.0
    abandoned: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: Exception | None = None

    def wanted(self) -> bool:
        """Whether a page waits, or has only just left and may come back."""
        return self.waiters > 0 or time.monotonic() - self.left_at < GRACE_SECONDS

    def check(self) -> None:
        """End the job here if it is no longer wanted; to be called between two steps.

        Raises:
            Abandoned: no page waits. The action lets it pass; a later request starts a new job.
        """
        with self.changed:
            self.abandoned = self.abandoned or not self.wanted()
            if self.abandoned:
                raise Abandoned

    def step(self, done: int, total: int) -> None:
        """Count a step, and end the job here if it is no longer wanted, as ``check`` does."""
        self.done_steps, self.total_steps = done, total
        self.check()


class Executor:
    """A bounded queue of jobs and the worker threads that run them.

    Args:
        workers: how many jobs run at once. One forward pass uses every core, so 1 is best.
        longest_queue: further requests are refused with a message.
        on_idle: called once by a worker that has been without work for a moment.
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
        """The value of ``action``: from the cache, or computed when its turn comes.

        Args:
            action: called with its `Job` on a worker thread.
            report: called on this thread a few times a second while it waits. When it raises, as
                Streamlit does to stop or rerun a page, this thread stops waiting for the job.

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
                continue  # it was abandoned just as this request joined it
            if job.error is not None:
                raise job.error
            return job.value

    def _wait(self, job: Job, report: Report) -> None:
        timeout = QUIET_SECONDS
        while not job.done.wait(timeout):
            report(JobStatus(self.ahead_of(job), job.done_steps, job.total_steps))
            timeout = REPORT_SECONDS

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
        """The first job that a page waits for; blocks until there is one."""
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
                    job.value = job.cache.get(job.key)  # computed while this job was queued
                except KeyError:
                    job.value = job.action(job)
                    job.cache.put(job.key, job.value)
            except Exception as error:
                job.error = error
            except BaseException as error:  # SystemExit, a panic in Rust: the worker goes on
                job.error = RuntimeError(f"the work ended with {type(error).__name__}: {error}")
                job.error.__cause__ = error
            finally:
                with self._changed:
                    self._running.remove(job)
                job.done.set()
            del job  # a waiting thread must not keep the last value alive
