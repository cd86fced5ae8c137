"""The receipt: a layer's record, compared with what the layer itself computed.

Two things are compared, row by row and head by head. The *outputs*, recomputed from the record,
with the layer's own. And the *weights*: the layer's own function runs on the same queries, keys and
mask with random values (see `attnviz.trace.probe`), and its outputs are compared with the record's
weights times these values. The first alone proves little where values are tiny or all alike; no
wrong weights can pass the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnviz.trace.records import LayerRecord, WeightsRecord, outputs_and_scale, row_blocks

# Up to this many queries, every row is checked while recording.
SHORT = 64
# Of longer inputs, this many blocks of this many consecutive rows, spread over the input.
_BLOCKS, _BLOCK = 4, 8

# Allowed rounding of a row's output, relative to its weighted mean of |values|. Fused float32
# kernels approximate exp to a few 1e-6 and sum in another order; half precision rounds the weights
# and the output once each, to 8 or 11 bits.
_RELATIVE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 4 * 2.0**-11,
    torch.bfloat16: 4 * 2.0**-8,
}
# A score is a sum of d_head products. Its rounding error grows with |q| |k| and becomes a relative
# error of the weight: twice the unit roundoff of the scores' dtype.
_PER_SCORE = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
# The largest tolerance, as a share of a row's scale: a receipt must be able to fail. Scores above
# 30 in half precision would need more; there the layer's own weights are used.
_MAX_RELATIVE = 0.25


@dataclass(frozen=True)
class Rounding:
    """How far two computations of the same row may differ.

    Attributes:
        relative: tolerance relative to the row's scale, its weighted mean of |values|.
        per_score: added to it for each unit of |q| |k| scaling.
        absolute: a difference that always passes: the spacing of the smallest numbers.
    """

    relative: float
    per_score: float
    absolute: float

    @classmethod
    def of(cls, dtype: torch.dtype, eager: bool = False) -> Rounding:
        """For a layer whose output has this dtype.

        Args:
            eager: the layer ran eager attention. Its softmax is in float32 even where everything
                else is in float64, and its scores are in half precision where everything else is
                (fused kernels keep them in float32).
        """
        info = torch.finfo(dtype)
        absolute = 4 * info.tiny * info.eps if info.bits == 16 else info.tiny
        if eager and dtype == torch.float64:
            return cls(1e-6, _PER_SCORE[torch.float32], absolute)
        relative = _RELATIVE.get(dtype, 1e-5)
        per_score = _PER_SCORE.get(dtype, _PER_SCORE[torch.float32])
        if eager and info.bits == 16:
            per_score = info.eps
        return cls(relative, per_score, absolute)


@dataclass(frozen=True)
class Check:
    """Some rows of a layer, computed in two ways and compared.

    Attributes:
        error: the largest difference, among the rows beyond their tolerance if there are any.
        tolerance: the tolerance of that row.
        rows: how many rows (of all items) were compared, each in all heads.
        passed: every difference is within its tolerance. NaN never is.
    """

    error: float
    tolerance: float
    rows: int
    passed: bool

    def __and__(self, other: Check) -> Check:
        """Both as one check: of more rows, or of more parts of the same layer."""
        worse = min(self, other, key=lambda c: (c.passed, -c.error))
        if not self.passed and math.isnan(self.error):
            worse = self
        return replace(worse, rows=self.rows + other.rows)


@dataclass(frozen=True)
class Checks:
    """What was compared of one layer.

    Attributes:
        output: its outputs. weights: its weights, by their outputs for random values. None where
            there was nothing to compare.
        rounding: the tolerances of both.
    """

    output: Check | None = None
    weights: Check | None = None
    rounding: Rounding | None = None

    def __and__(self, other: Checks) -> Checks:
        """The checks of two parts of a layer as one."""
        return Checks(
            self.output & other.output if self.output and other.output else None,
            self.weights & other.weights if self.weights and other.weights else None,
            self.rounding or other.rounding,
        )


UNCHECKED = Checks()


@dataclass(frozen=True)
class Fidelity:
    """How far a layer's record is from what the layer computed.

    Attributes:
        layer: its index. source: "exact", "dense" or "refused".
        error: max |recomputed output - the layer's own|; NaN where there is nothing to compare.
        tolerance: the rounding allowed for it, see `Check`.
        passed: outputs and weights were both compared, and both are within their tolerances.
        weights_error: max |the layer's own function of random values of +1 and -1 - the record's
            weights times these values|; None where the function could not be run again.
        weights_tolerance: the rounding allowed for it.
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
    """A layer's receipt from its checks: passed only if both were made and passed.

    A layer whose weights came from inside its module (dense) has no function to run again: there
    the outputs decide.
    """
    output, weights = checks.output, checks.weights
    total = 0 if layer is None else layer.shape[0] * layer.shape[2]
    if layer is None or output is None:
        return Fidelity(index, source, float("nan"), 0.0, False, total_rows=total)
    weights_passed = weights.passed if weights is not None else isinstance(layer, WeightsRecord)
    rows = output.rows if weights is None else min(output.rows, weights.rows)
    return Fidelity(
        index, source, output.error, output.tolerance, output.passed and weights_passed,
        weights.error if weights else None, weights.tolerance if weights else 0.0,
        min(rows, total), total,
    )  # fmt: skip


def sampled_rows(n_q: int) -> list[slice]:
    """Rows to check while recording: all of a short input, blocks spread over a longer one."""
    if n_q <= SHORT:
        return [slice(0, n_q)]
    last = n_q - _BLOCK
    starts = [last * i // (_BLOCKS - 1) for i in range(_BLOCKS)]
    return [slice(i, i + _BLOCK) for i in starts]


def all_rows(layer: LayerRecord) -> list[slice]:
    """All rows, in blocks of bounded memory."""
    _, H, n_q, n_k = layer.shape
    return list(row_blocks(n_q, n_k, H))


def compare(layer: LayerRecord, own: Tensor, rows: Sequence[slice], rounding: Rounding) -> Check:
    """Compares these rows of all items and heads, recomputed, with the layer's own.

    Args:
        own: (B, n_q, H, d_v) the layer's own output.
    """
    return compare_rows(layer, ((block, own[:, block]) for block in rows), rounding)


@torch.no_grad()
def compare_rows(
    layer: LayerRecord, parts: Iterable[tuple[slice, Tensor]], rounding: Rounding
) -> Check:
    """Like `compare`, with the layer's own output in parts: (rows, (B, r, H, d_v))."""
    parts = list(parts)
    total = Check(0.0, 0.0, 0, True)
    with torch._C.DisableTorchFunction():  # hidden from a watcher of the pass
        for item in range(layer.shape[0]):
            compared = _ItemCheck(layer, item, rounding)
            for block, own in parts:
                total = total & compared.rows(block, own[item].transpose(0, 1))
    return total


class _ItemCheck:
    """Compares rows of one item; holds what the tolerances of all rows depend on."""

    def __init__(self, layer: LayerRecord, item: int, rounding: Rounding) -> None:
        self._layer, self._item, self._rounding = layer, item, rounding
        self._heads = slice(0, layer.shape[1])
        self._magnitudes = None if layer.v is None else layer.v[item].abs()  # (H_kv, n_k, d_v)
        self._key_norm: Tensor | None = None  # (H, 1) scaled norm of the longest key
        if not isinstance(layer, WeightsRecord):
            longest = torch.linalg.vector_norm(layer.k[item], dim=-1).float().amax(dim=-1)
            group = layer.shape[1] // len(longest)
            scaling = abs(layer.modifiers.scaling)
            self._key_norm = longest.repeat_interleave(group)[:, None] * scaling

    def rows(self, rows: slice, own: Tensor) -> Check:
        """Compares some rows with the layer's own, (H, r, d_v)."""
        n = rows.stop - rows.start
        if self._magnitudes is None or not own.numel():
            return Check(0.0, 0.0, n, not own.numel())
        recomputed, scale = outputs_and_scale(
            self._layer, self._item, self._heads, rows, self._magnitudes
        )  # (H, r, d_v), (H, r)
        if recomputed.shape != own.shape:
            return Check(float("inf"), 0.0, n, False)
        error = (recomputed - own.to(recomputed.dtype)).abs().amax(dim=-1)  # (H, r)
        tolerance = self._relative(rows) * scale + self._rounding.absolute
        failed = ~(error <= tolerance)  # NaN fails
        passed = not bool(failed.any())
        if not passed:
            error = error.masked_fill(~failed, -1.0)
        worst = int(error.nan_to_num(nan=torch.inf).argmax())
        return Check(float(error.flatten()[worst]), float(tolerance.flatten()[worst]), n, passed)

    def _relative(self, rows: slice) -> Tensor | float:
        """(H, r): tolerance relative to the scale; more where scores are large."""
        if self._key_norm is None or self._layer.q is None:
            return self._rounding.relative
        q = self._layer.q[self._item, :, rows]
        score = torch.linalg.vector_norm(q, dim=-1).float() * self._key_norm  # (H, r) the largest
        return (self._rounding.relative + self._rounding.per_score * score).clamp(max=_MAX_RELATIVE)
