"""The receipt: what is shown of a layer, compared with what the layer itself computed.

Two things are compared, row by row and head by head. The *output*, recomputed from what was kept,
with the layer's own. And the *weights*: the layer's own function is run on the same queries, keys
and mask with random values in place of its own (see `attnviz.trace.probe`), and what it makes of
them is compared with our weights' mean of them. The first alone proves little where values are tiny
or all alike; the second cannot be passed by a wrong map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnviz.trace.compute import LayerRecord, WeightsRecord, outputs_and_scale, row_blocks

# Queries up to which every row is checked while recording.
SHORT = 64
# Of longer inputs these many stretches of consecutive rows are, spread from the first to the last.
_STRETCHES, _STRETCH = 4, 8

# What rounding may do to a row's output, relative to its weighted mean of |values|. Fused float32
# kernels approximate exp to a few 1e-6 and add in another order; half precision rounds the weights
# and the output once each, to 8 or 11 bits.
_RELATIVE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 4 * 2.0**-11,
    torch.bfloat16: 4 * 2.0**-8,
}
# A score is a sum of d_head products. Its rounding grows with |q| |k|, and moves a weight by as
# much relative to the weight: twice the unit roundoff of the scores' format.
_PER_SCORE = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
# More than this share of a row's scale is not excused: a receipt must be able to fail. Half
# precision's scores would ask for more where they pass 30; there the layer's own weights are shown.
_MOST = 0.25


@dataclass(frozen=True)
class Rounding:
    """How far two ways to compute the same row may differ.

    Attributes:
        relative: to the row's scale, its weighted mean of |values|.
        per_score: what is added to it for each unit of |q| |k| scaling.
        least: an absolute difference that is none: the spacing of the smallest numbers.
    """

    relative: float
    per_score: float
    least: float

    @classmethod
    def of(cls, dtype: torch.dtype, explicit: bool = False) -> Rounding:
        """For a layer whose output has this format.

        Args:
            explicit: it ran transformers' step-by-step attention, whose softmax is in float32 even
                where everything else is in float64, and whose scores are in half precision where
                everything else is (fused kernels keep them in float32).
        """
        info = torch.finfo(dtype)
        least = 4 * info.tiny * info.eps if info.bits == 16 else info.tiny
        if explicit and dtype == torch.float64:
            return cls(1e-6, _PER_SCORE[torch.float32], least)
        relative = _RELATIVE.get(dtype, 1e-5)
        per_score = _PER_SCORE.get(dtype, _PER_SCORE[torch.float32])
        if explicit and info.bits == 16:
            per_score = info.eps
        return cls(relative, per_score, least)


@dataclass(frozen=True)
class Check:
    """Some rows of a layer, computed in two ways and compared.

    Attributes:
        error: the largest difference; of the rows that rounding does not explain, if there are any.
        tolerance: what rounding explains in that row.
        rows: how many rows (of all items) were compared, each in all heads.
        passed: rounding explains every difference. NaN is never explained.
    """

    error: float
    tolerance: float
    rows: int
    passed: bool

    def __and__(self, other: Check) -> Check:
        """Both, as one: of further rows, or of further parts of the same layer."""
        worse = min(self, other, key=lambda c: (c.passed, -c.error))
        if not self.passed and math.isnan(self.error):
            worse = self
        return replace(worse, rows=self.rows + other.rows)


@dataclass(frozen=True)
class Checks:
    """What was compared of one layer.

    Attributes:
        output: its outputs. weights: its weights, by what they make of random values. None where
            there was nothing to compare.
        rounding: what both allowed.
    """

    output: Check | None = None
    weights: Check | None = None
    rounding: Rounding | None = None

    def __and__(self, other: Checks) -> Checks:
        """Of both parts of a layer, or of what followed in it."""
        return Checks(
            self.output & other.output if self.output and other.output else None,
            self.weights & other.weights if self.weights and other.weights else None,
            self.rounding or other.rounding,
        )


UNCHECKED = Checks()


@dataclass(frozen=True)
class Fidelity:
    """How far what is shown of a layer lies from what the layer computed.

    Attributes:
        layer: its index. source: "exact", "dense" or "refused".
        error: max |recomputed output - the layer's own|; NaN where there is nothing to compare.
        tolerance: what rounding explains of that, see `Check`.
        passed: outputs and weights were both compared, and rounding explains every difference.
        weights_error: max |what the layer's own function makes of random values ±1 - what our
            weights make of them|; None where the function could not be run again.
        weights_tolerance: what rounding explains of that.
        rows, total_rows: rows compared (queries of all items), and rows there are.
    """

    layer: int
    source: str
    error: float
    tolerance: float
    passed: bool
    weights_error: float | None = None
    weights_tolerance: float = 0.0
    rows: int = 0
    total_rows: int = 0


def receipt(index: int, source: str, layer: LayerRecord | None, checks: Checks) -> Fidelity:
    """A layer's receipt out of its checks: green only where both were made and hold.

    A layer whose weights came out of its module (dense) has no function to be asked again: there
    the outputs decide.
    """
    output, weights = checks.output, checks.weights
    total = 0 if layer is None else layer.shape[0] * layer.shape[2]
    if layer is None or output is None:
        return Fidelity(index, source, float("nan"), 0.0, False, total_rows=total)
    proven = weights.passed if weights is not None else isinstance(layer, WeightsRecord)
    rows = output.rows if weights is None else min(output.rows, weights.rows)
    return Fidelity(
        index, source, output.error, output.tolerance, output.passed and proven,
        weights.error if weights else None, weights.tolerance if weights else 0.0,
        min(rows, total), total,
    )  # fmt: skip


def sampled_rows(n_q: int) -> list[slice]:
    """Rows to check while recording: all of a short input; of a longer one stretches from the first
    row to the last."""
    if n_q <= SHORT:
        return [slice(0, n_q)]
    last = n_q - _STRETCH
    starts = [last * i // (_STRETCHES - 1) for i in range(_STRETCHES)]
    return [slice(i, i + _STRETCH) for i in starts]


def all_rows(layer: LayerRecord) -> list[slice]:
    """All rows, in blocks of bounded memory."""
    _, H, n_q, n_k = layer.shape
    return list(row_blocks(n_q, n_k, H))


def compare(layer: LayerRecord, own: Tensor, rows: Sequence[slice], rounding: Rounding) -> Check:
    """These rows of all items and heads, recomputed, beside the layer's own.

    Args:
        own: (B, n_q, H, d_v) the layer's own output.
    """
    return compare_rows(layer, ((block, own[:, block]) for block in rows), rounding)


@torch.no_grad()
def compare_rows(
    layer: LayerRecord, parts: Iterable[tuple[slice, Tensor]], rounding: Rounding
) -> Check:
    """As `compare`, of (rows, (B, r, H, d_v) their own output) in parts."""
    parts = list(parts)
    total = Check(0.0, 0.0, 0, True)
    with torch._C.DisableTorchFunction():  # whoever watches a pass has no use for this
        for item in range(layer.shape[0]):
            compared = _Item(layer, item, rounding)
            for block, own in parts:
                total = total & compared.rows(block, own[item].transpose(0, 1))
    return total


class _Item:
    """One item of a layer, and what all of its rows are measured by."""

    def __init__(self, layer: LayerRecord, item: int, rounding: Rounding) -> None:
        self._layer, self._item, self._rounding = layer, item, rounding
        self._heads = slice(0, layer.shape[1])
        self._magnitudes = None if layer.v is None else layer.v[item].abs()  # (H_kv, n_k, d_v)
        self._key_size: Tensor | None = None  # (H, 1) the longest key's length, scaled
        if not isinstance(layer, WeightsRecord):
            longest = torch.linalg.vector_norm(layer.k[item], dim=-1).float().amax(dim=-1)
            group = layer.shape[1] // len(longest)
            scaling = abs(layer.modifiers.scaling)
            self._key_size = longest.repeat_interleave(group)[:, None] * scaling

    def rows(self, rows: slice, own: Tensor) -> Check:
        """Some rows beside the layer's own, (H, r, d_v)."""
        n = rows.stop - rows.start
        if self._magnitudes is None or not own.numel():
            return Check(0.0, 0.0, n, not own.numel())
        again, scale = outputs_and_scale(
            self._layer, self._item, self._heads, rows, self._magnitudes
        )  # (H, r, d_v), (H, r)
        if again.shape != own.shape:
            return Check(float("inf"), 0.0, n, False)
        apart = (again - own.to(again.dtype)).abs().amax(dim=-1)  # (H, r)
        allowed = self._relative(rows) * scale + self._rounding.least
        beyond = ~(apart <= allowed)  # NaN is beyond
        passed = not bool(beyond.any())
        if not passed:
            apart = apart.masked_fill(~beyond, -1.0)
        worst = int(apart.nan_to_num(nan=torch.inf).argmax())
        return Check(float(apart.flatten()[worst]), float(allowed.flatten()[worst]), n, passed)

    def _relative(self, rows: slice) -> Tensor | float:
        """(H, r): what rounding may do, relative to the scale; more where scores are large."""
        if self._key_size is None or self._layer.q is None:
            return self._rounding.relative
        q = self._layer.q[self._item, :, rows]
        size = torch.linalg.vector_norm(q, dim=-1).float() * self._key_size  # (H, r)
        return (self._rounding.relative + self._rounding.per_score * size).clamp(max=_MOST)
