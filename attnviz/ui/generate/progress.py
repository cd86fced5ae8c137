"""A text while it is written: how far it has got, who waits for it, and what they see of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.models.text_encoding import encode
from attnviz.models.token_decoding import decode_tokens
from attnviz.trace.requests import TraceRequest
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.executor import GRACE_SECONDS
from attnviz.ui.generate.head_rows import HeadRef, HeadRows, Picture, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from attnviz.trace.generation import GenerationStep
    from attnviz.trace.model import Model
    from attnviz.trace.structure import Kind


@dataclass
class GenerationProgress:
    """A text as it is written, seen by the thread that writes and by the people who wait.

    Attributes:
        text: ids of all that the decoder has read or written. written: how many of them are new.
    """

    text: list[int] = field(default_factory=list)
    written: int = 0
    waiting: int = 0
    left_at: float = 0.0
    stopped: bool = False
    watching: Counter[HeadRef] = field(default_factory=Counter)
    rows: dict[HeadRef, HeadRows] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, step: GenerationStep, before: int = 0) -> bool:
        """Take one more token; whether to stop after it.

        Args:
            before: how many tokens were written before this writing began.
        """
        with self.lock:
            self.written = max(self.written, before) + 1
            self.text = step.ids.tolist()
            for watched in self.watching:
                self.rows.setdefault(watched, HeadRows()).add(step, watched, self.written)
            gone = self.waiting == 0 and time.monotonic() - self.left_at > GRACE_SECONDS
            self.stopped = self.stopped or gone
            return self.stopped

    def stop(self) -> int:
        """Stop if nobody else waits; how many tokens there will be: the next one is on its way."""
        with self.lock:
            self.stopped = self.stopped or self.waiting == 0
            return self.written + 1

    def ids(self) -> list[int]:
        """The written tokens."""
        with self.lock:
            return self.text[len(self.text) - self.written :]

    def snapshot(self, watched: HeadRef) -> tuple[Kind | None, list[Row], list[int]]:
        """What kind of attention a head has, its newest rows, and the text that they are of."""
        with self.lock:
            rows = self.rows.get(watched)
            return (rows.kind, list(rows.newest), self.text) if rows else (None, [], self.text)

    @contextmanager
    def waiter(self, watched: HeadRef | None = None) -> Iterator[None]:
        """Somebody is there, and may look at one head."""
        with self.lock:
            self.waiting += 1
            if watched is not None:
                self.watching[watched] += 1
        try:
            yield
        finally:
            with self.lock:
                self.waiting -= 1
                self.left_at = time.monotonic()
                if watched is not None:
                    self.watching[watched] -= 1
                    if not self.watching[watched]:
                        del self.watching[watched]
                        self.rows.pop(watched, None)


class LiveView:
    """What is on the page while a text is written: the words, a button to stop, a head's rows."""

    def __init__(
        self,
        room: DeltaGenerator,
        model: Model,
        request: TraceRequest,
        progress: GenerationProgress,
        stop: Callable[[], None],
        watched: HeadRef | None,
    ) -> None:
        self._room = room
        self._model = model
        self._request = request
        self._progress = progress
        self._stop = stop
        self._watched = watched
        self._tokens = request.sampling.tokens if request.sampling else 0
        self._words: DeltaGenerator | None = None
        self._below: DeltaGenerator | None = None
        self._picture: Picture | None = None
        self._drawn = 0

    def draw(self) -> None:
        """Show what has come since."""
        tokenizer = self._model.tokenizer
        if tokenizer is None:
            return
        if self._words is None:
            with self._room.container():
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.button("Stop", icon=":material/stop:", on_click=self._stop)
                    self._words = st.empty()
                self._below = st.empty()
        ids = self._progress.ids()
        words = tokenizer.decode(ids, skip_special_tokens=True)
        self._words.caption(f"{len(ids)} tokens: {escape_markdown(str(words))}")
        if self._watched is not None and len(ids) > self._drawn:
            self._drawn = len(ids)
            self._draw_rows(tokenizer, self._watched)

    def _draw_rows(self, tokenizer: PreTrainedTokenizerBase, watched: HeadRef) -> None:
        kind, rows, ids = self._progress.snapshot(watched)
        if not rows or self._below is None:
            return
        if self._picture is None:
            with self._below.container():
                self._picture = Picture(self._tokens)
        text = [token.text for token in decode_tokens(tokenizer, ids)]
        keys = text[:-1]  # the token that came last has not been read
        if kind == "cross":
            source = encode(self._model.loaded, self._request.text)[1]
            keys = [token.text for token in source]
        self._picture.show(rows, [text[row.query] for row in rows], keys)
