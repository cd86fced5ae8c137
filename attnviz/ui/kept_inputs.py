"""Inputs that an address can't carry: long texts and images, kept by the server for its links.

They stay in memory, never on disk: what people paste may be private, and a link to it need not
outlive the server. Anyone with the link has the input; its name is a hash that cannot be guessed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import streamlit as st

MAX_COUNT: Final = 256
MAX_BYTES: Final = 128 * 2**20  # of all together
DAYS: Final = 7  # after it was last opened

# Sentences about "this text" or "the image", to be ended by these.
KEPT: Final = (
    f"this server keeps it for the link: for {DAYS} days after it was last opened, or until it "
    f"restarts or keeps {MAX_COUNT} newer ones."
)
NO_LONGER_KEPT: Final = "is no longer kept on this server. Put it in again."


@dataclass
class _Kept:
    content: bytes
    opened: float  # seconds, by a clock that only goes forward


class KeptInputs:
    """Contents by their hash: bounded in number and in bytes, the longest unopened dropped first.

    name = kept.add(b"a long text")
    kept.open(name)  # b"a long text", or None once it was dropped
    """

    def __init__(
        self, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES, days: float = DAYS
    ) -> None:
        self._max_count, self._max_bytes, self._seconds = max_count, max_bytes, days * 86_400
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the longest unopened first
        self._lock = threading.Lock()

    def add(self, content: bytes) -> str:
        """Keep a content, and return its name; one that is too large by itself is not kept."""
        name = hashlib.sha256(content).hexdigest()[:32]
        with self._lock:
            self._kept[name] = _Kept(content, time.monotonic())
            self._kept.move_to_end(name)
            self._drop()
        return name

    def open(self, name: str) -> bytes | None:
        """The content of a name, which then counts as opened now; None if it is not kept."""
        with self._lock:
            self._drop()
            kept = self._kept.get(name)
            if kept is None:
                return None
            kept.opened = time.monotonic()
            self._kept.move_to_end(name)
            return kept.content

    def _drop(self) -> None:
        """Drop what is too old, and then what is too much."""
        oldest = time.monotonic() - self._seconds
        while self._kept and (
            next(iter(self._kept.values())).opened < oldest
            or len(self._kept) > self._max_count
            or sum(len(one.content) for one in self._kept.values()) > self._max_bytes
        ):
            self._kept.popitem(last=False)


@st.cache_resource(show_spinner=False)
def kept_inputs() -> KeptInputs:
    """Those of the server, shared by its sessions."""
    return KeptInputs()
