"""Arrays as a page keeps them: float32, or 16 bits with a scale for each channel, each once.

Half precision is not enough: a query's few large channels make scores in the hundreds, and weights
from float16 are then off by 2e-3. Codes of 16 bits between a channel's own
smallest and largest number are as small and thirty times as exact (5e-5 on SmolLM2).
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from attnviz.trace.tile_math import upcast

Storage = Literal["float32", "16 bits"]

LEVEL = 6  # of deflate; numbers give little, masks and causal weights much
_LEVELS = 65535  # steps between a channel's smallest and largest number


@dataclass(frozen=True)
class Codes:
    """Numbers as 16-bit codes: ``low + step * code``, with a scale for each channel of each head.

    Attributes:
        codes: (H, n, d) uint16. low, step: (H, d) float32.
    """

    codes: np.ndarray
    low: np.ndarray
    step: np.ndarray

    @classmethod
    def of(cls, array: Tensor) -> Codes:
        """The codes of (H, n, d) numbers."""
        t = upcast(array).cpu().numpy()
        low = t.min(axis=1).astype(np.float32)  # (H, d)
        step = ((t.max(axis=1) - low) / _LEVELS).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            codes = np.rint((t - low[:, None]) / step[:, None].astype(t.dtype))
        codes = np.where(step[:, None] > 0, np.clip(codes, 0, _LEVELS), 0)
        return cls(codes.astype(np.uint16), low, step)

    def decode(self) -> Tensor:
        """(H, n, d) float32, as the browser has them."""
        numbers = (
            self.low[:, None].astype(np.float64)
            + self.step[:, None].astype(np.float64) * self.codes
        )
        return torch.from_numpy(numbers.astype(np.float32))


class TensorStore:
    """The arrays of one page. An array that several layers share is kept once.

    Attributes:
        blobs: the bytes of each array, deflated, in base64.
    """

    def __init__(self) -> None:
        self.blobs: list[str] = []
        self._indices: dict[tuple[str, bytes], int] = {}

    def add(self, array: Tensor | Codes | None) -> dict[str, Any] | None:
        """What the browser needs to find an array: of float32, of int32, or of codes."""
        if array is None:
            return None
        if isinstance(array, Codes):
            return {
                "blob": self._add(array.codes, "u2"),
                "type": "u2",
                "shape": list(array.codes.shape),
                "low": self._add(array.low, "f4"),
                "step": self._add(array.step, "f4"),
            }
        whole = not array.is_floating_point()
        values = array.cpu().to(torch.int32 if whole else torch.float32).numpy()
        kind = "i4" if whole else "f4"
        return {"blob": self._add(values, kind), "type": kind, "shape": list(values.shape)}

    def add_bytes(self, data: bytes) -> int:
        """The index of a blob that is not an array."""
        return self._index("bytes", data)

    def _add(self, values: np.ndarray, kind: str) -> int:
        return self._index(kind, np.ascontiguousarray(values).tobytes())

    def _index(self, kind: str, data: bytes) -> int:
        key = (kind, hashlib.sha256(data).digest())
        if key not in self._indices:
            self._indices[key] = len(self.blobs)
            self.blobs.append(base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii"))
        return self._indices[key]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return enumerate(self.blobs)
