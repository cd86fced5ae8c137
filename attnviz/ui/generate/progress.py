"""How far a running generation has got, shared by the worker and the pages that wait for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnviz.analysis.generation_rows import HeadRef, HeadRows, Row
from attnviz.ui.executor import GRACE_SECONDS

if TYPE_CHECKING:
    from attnviz.trace.generation import GenerationStep
    from attnviz.trace.structure import Kind


@dataclass
class GenerationProgress:
    """The tokens so far, the heads that pages follow, and whether to stop.

    Attributes:
        text: ids of all tokens that the decoder has read or generated.
        n_generated: how many of them are generated.
        viewers: pages that wait for the result.
        left_at: when the last viewer left.
        followed: how many viewers follow each head.
        rows: the newest rows of the followed heads.
    """

    text: list[int] = field(default_factory=list)
    n_generated: int = 0
    viewers: int = 0
    left_at: float = 0.0
    stopped: bool = False
    followed: Counter[HeadRef] = field(default_factory=Counter)
    rows: dict[HeadRef, HeadRows] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, step: GenerationStep, before: int = 0) -> bool:
        """Add one token; returns whether to stop after it.

        Args:
            before: tokens that an earlier run had generated, which this run continues.
        """
        with self.lock:
            self.n_generated = max(self.n_generated, before) + 1
            self.text = step.ids.tolist()
            for head in self.followed:
                self.rows.setdefault(head, HeadRows()).add(step, head, self.n_generated)
            left = self.viewers == 0 and time.monotonic() - self.left_at > GRACE_SECONDS
            self.stopped = self.stopped or left
            return self.stopped

    def stop(self) -> int:
        """Stop, unless another page waits for the result.

        Returns:
            How many generated tokens there will be: the next one is already being computed.
        """
        with self.lock:
            self.stopped = self.stopped or self.viewers == 0
            return self.n_generated + 1

    def ids(self) -> list[int]:
        """The generated tokens."""
        with self.lock:
            return self.text[len(self.text) - self.n_generated :]

    def rows_of(self, head: HeadRef) -> tuple[Kind | None, list[Row], list[int]]:
        """The kind of a head's layer, its newest rows, and the ids of the text so far."""
        with self.lock:
            rows = self.rows.get(head)
            return (rows.kind, list(rows.newest), self.text) if rows else (None, [], self.text)

    @contextmanager
    def viewer(self, head: HeadRef | None = None) -> Iterator[None]:
        """Count a page that waits for the result and may follow one head."""
        with self.lock:
            self.viewers += 1
            if head is not None:
                self.followed[head] += 1
        try:
            yield
        finally:
            with self.lock:
                self.viewers -= 1
                self.left_at = time.monotonic()
                if head is not None:
                    self.followed[head] -= 1
                    if not self.followed[head]:
                        del self.followed[head]
                        self.rows.pop(head, None)
