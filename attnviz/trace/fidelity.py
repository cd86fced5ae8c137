"""The receipt: is the map what the layer computed?

Each layer's output is recomputed from what was kept and compared with the output that the layer
itself made in the same forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.trace.compute import Recorded, outputs, row_blocks

# How far a recomputed output may lie from the layer's own, relative to its largest number (at
# least 1). Fused kernels add in another order (float32: seen up to 3e-6 at 16,384 keys); half
# precision rounds the weights and the output once each, to 8 or 11 bits.
_RELATIVE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 4 * 2.0**-11,
    torch.bfloat16: 4 * 2.0**-8,
}

# Queries up to which every row is checked while recording.
_SHORT = 64

Where = tuple[Sequence[int], Sequence[slice]]


@dataclass(frozen=True)
class Fidelity:
    """How far a layer's recomputed output lies from its own.

    Attributes:
        layer: its index. source: "exact", "dense" or "refused".
        error: max |recomputed - own| over all items, heads and rows; NaN where nothing to compare.
        tolerance: the largest error that passes.
        passed: whether the map may be trusted.
    """

    layer: int
    source: str
    error: float
    tolerance: float
    passed: bool


def receipt(index: int, source: str, layer: Recorded | None, own: Tensor | None) -> Fidelity:
    """One layer's receipt, over all its items, heads and rows.

    Args:
        own: (B, n_q, H, d_v) the layer's own output. Without it there is no error to report: a
            dense layer passes on being the module's own weights, any other fails.
    """
    if layer is None or own is None:
        return Fidelity(index, source, float("nan"), 0.0, layer is not None and source == "dense")
    error, limit = error_of(layer, own, *everything(layer)), tolerance(own)
    return Fidelity(index, source, error, limit, error <= limit)


def tolerance(own: Tensor) -> float:
    """The largest error that passes for this output."""
    size = float(own.abs().max()) if own.numel() else 0.0
    return _RELATIVE.get(own.dtype, 1e-5) * max(1.0, size)


def agrees(error: float, own: Tensor) -> bool:
    """Whether an error is rounding (NaN is not)."""
    return error <= tolerance(own)


def sample(B: int, n_q: int) -> Where:
    """What is looked at while recording: all rows of a short input, some of a long one."""
    items = sorted({0, B // 2, B - 1})
    if n_q <= _SHORT:
        return items, [slice(0, n_q)]
    rows = sorted({n_q // 3, 2 * n_q // 3, n_q - 1})
    return items, [slice(r, r + 1) for r in rows]


def everything(layer: Recorded) -> Where:
    """All items and rows, in blocks of bounded memory."""
    B, H, n_q, n_k = layer.shape
    return range(B), list(row_blocks(n_q, n_k, H))


def error_of(layer: Recorded, own: Tensor, items: Sequence[int], rows: Sequence[slice]) -> float:
    """max |recomputed - own| over these items and rows, and all heads.

    Args:
        own: (B, n_q, H, d_v) the layer's own output.
    """
    worst = 0.0
    heads = slice(0, layer.shape[1])
    for item in items:
        for block in rows:
            again = outputs(layer, item, heads, block)  # (H, r, d_v)
            mine = own[item, block].transpose(0, 1)
            if again.shape != mine.shape:
                return float("inf")
            error = float((again - mine.to(again.dtype)).abs().max()) if again.numel() else 0.0
            if not error <= worst:  # a NaN must not get lost
                worst = error
    return worst
