"""Layer records: what a layer leaves, and the scores, weights and outputs computed from it.

Everything is computed by tile from Q, K, V and the score modifiers, in at least float32 and in
bounded memory. All kinds of records have the same methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.term_detection import masked_from
from attnviz.trace.tile_math import matmul_by_group, softmax, upcast

if TYPE_CHECKING:
    from attnviz.trace.edited import EditedRecord

# Weights below this make no difference beside 1 in float32.
NEGLIGIBLE = 2.0**-24

# Cells of scores in memory at once: 2 million float32 cells are 8 MB.
CELLS = 1 << 21


@dataclass(frozen=True)
class QKVRecord:
    """A layer kept as Q, K and V; weights are recomputed on access (``source="exact"``).

    Attributes:
        q: (B, H, n_q, d_head). k: (B, H_kv, n_k, d_head). v: (B, H_kv, n_k, d_v).
        modifiers: what turns q @ k.T into weights.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    modifiers: ScoreModifiers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, n_q, n_k)."""
        return self.q.shape[0], self.q.shape[1], self.q.shape[2], self.k.shape[2]

    def kv_heads(self, heads: slice) -> slice:
        """The key/value heads of these query heads: of one head, or of whole groups."""
        group = self.q.shape[1] // self.k.shape[1]
        return slice(heads.start // group, (heads.stop - 1) // group + 1)

    def scores(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): scaled, biased and masked scores of a tile (masked cells keep the fill)."""
        q = upcast(self.q[item, heads, rows])
        k = upcast(self.k[item, self.kv_heads(heads), cols])
        return self.modifiers.apply(
            matmul_by_group(q, k.transpose(-1, -2)), item, heads, rows, cols
        )

    def masked(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if none is.

        A masked key has no weight beside a visible one. A weak fill (-100) doesn't ensure that for
        all scores; a key that has weight in spite of it doesn't count as masked.
        """
        hidden = self.modifiers.masks(item, heads, rows, cols)
        if hidden is None or self.modifiers.masks_are_hard:
            return hidden
        no_key = self.modifiers.fully_masked_rows(item, heads, rows, self.shape[3])
        w = self.weights(item, heads, rows, 0, self.shape[3])[:, :, cols]
        no_weight = w < NEGLIGIBLE
        return hidden & (no_weight if no_key is None else no_weight | no_key)

    def masks_as(self, other: LayerRecord) -> bool:
        """Whether ``masked`` of another record is known to be the same for every tile."""
        return (
            isinstance(other, QKVRecord)
            and self.shape == other.shape
            and self.modifiers.masks_are_hard
            and self.modifiers.masks_as(other.modifiers)
        )

    def visible_counts(self, item: int, heads: slice) -> Tensor | None:
        """(n_k,) float64: how many queries see each key, averaged over these heads."""
        _, _, n_q, n_k = self.shape
        ranges = self.modifiers.visible_ranges(item, n_q, n_k)
        if ranges is None or not self.modifiers.masks_are_hard:
            return count_visible(self, item, heads)
        lo = ranges[0].clamp(max=n_k)
        hi = torch.maximum(lo, ranges[1])
        changes = lo.bincount(minlength=n_k + 1) - hi.bincount(minlength=n_k + 1)
        return changes.cumsum(0)[:n_k].double()

    def weights(self, item: int, heads: slice, rows: slice, lo: int, hi: int) -> Tensor:
        """(h, r, hi - lo): weights of whole rows, for a range of keys that has all the weight."""
        return self.weights_and_scores(item, heads, rows, lo, hi)[0]

    def weights_and_scores(
        self, item: int, heads: slice, rows: slice, lo: int, hi: int
    ) -> tuple[Tensor, Tensor | None]:
        """(h, r, hi - lo) each: weights of whole rows, and the scores whose softmax they are."""
        s = self.scores(item, heads, rows, slice(lo, hi))
        return self.softmax(s, item, heads, rows), s

    def softmax(self, s: Tensor, item: int, heads: slice, rows: slice) -> Tensor:
        """(h, r, c) weights from scores of whole rows."""
        sink = self.modifiers.sink_scores(item, heads, rows)
        if sink is not None and not self.modifiers.sink_gates_output:
            column = sink.to(s.dtype).expand(s.shape[0], s.shape[1], 1)
            s = torch.cat([s, column], dim=-1)
            return softmax(s)[..., :-1]
        return softmax(s)

    def finish(
        self, out: Tensor, item: int, heads: slice, rows: slice, scores: Tensor | None = None
    ) -> Tensor:
        """Applies a sink's gate, if there is one, to weights @ values, (h, r, d_v).

        Args:
            scores: (h, r, n_k) from which the gate is computed; by default the layer's own.
        """
        sink = self.modifiers.sink_scores(item, heads, rows)
        if sink is None or not self.modifiers.sink_gates_output:
            return out
        if scores is None:
            scores = self.scores(item, heads, rows, slice(0, self.shape[3]))
        return out * torch.sigmoid(torch.logsumexp(scores, dim=-1, keepdim=True) - sink)

    def key_range(self, item: int, rows: slice) -> tuple[int, int]:
        """The keys outside of which these rows have no weight."""
        return self.modifiers.key_range(item, rows, self.shape[3])

    @property
    def signed(self) -> bool:
        """Whether a weight may be negative; then no key is left out of ``key_range``."""
        return False

    @property
    def unedited(self) -> QKVRecord:
        """The record without interventions: itself."""
        return self

    @property
    def scaling(self) -> float | None:
        """The factor on q @ k.T; None where only the weights are known."""
        return self.modifiers.scaling

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""
        return self.q.device

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return self.q.nbytes + self.k.nbytes + self.v.nbytes + self.modifiers.nbytes


@dataclass(frozen=True)
class WeightsRecord:
    """A layer kept as the weights that its own module computed (``source="dense"``).

    Attributes:
        values: (B, H, n_q, n_k) weights, as they were multiplied with the values.
        raw_scores: the module's own scores, same shape, if the weights are their softmax.
        q, k, v: the operands of the products, where they are known; (B, H_kv, n_k, d) keys and
            values.
    """

    values: Tensor
    raw_scores: Tensor | None = None
    q: Tensor | None = None
    k: Tensor | None = None
    v: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, n_q, n_k)."""
        B, H, n_q, n_k = self.values.shape
        return B, H, n_q, n_k

    def kv_heads(self, heads: slice) -> slice:
        """The key/value heads of these query heads: of one head, or of whole groups."""
        shared = self.v if self.v is not None else self.k
        group = 1 if shared is None else self.values.shape[1] // shared.shape[1]
        return slice(heads.start // group, (heads.stop - 1) // group + 1)

    def scores(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): the module's own scores."""
        if self.raw_scores is None:
            raise AttnVizError(
                "The scores of this layer are computed inside its module and are not available.",
                "Look at its weights, which the module returns.",
            )
        return upcast(self.raw_scores[item, heads, rows, cols])

    def weights(self, item: int, heads: slice, rows: slice, lo: int, hi: int) -> Tensor:
        """(h, r, hi - lo) weights of whole rows."""
        return upcast(self.values[item, heads, rows, lo:hi])

    def weights_and_scores(
        self, item: int, heads: slice, rows: slice, lo: int, hi: int
    ) -> tuple[Tensor, Tensor | None]:
        """(h, r, hi - lo) weights of whole rows; they need not be the softmax of any scores."""
        return self.weights(item, heads, rows, lo, hi), None

    def masked(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h, r, c), True where a key is masked, according to the scores; None if they are unknown.

        A masked score is far below its row's largest (see `masked_from`) and has no weight. In a
        row without a visible key, all scores are near the lowest number of their dtype.
        """
        if self.raw_scores is None:
            return None
        tile = upcast(self.raw_scores[item, heads, rows, cols])
        hidden = tile <= torch.finfo(self.raw_scores.dtype).min / 2
        if self._masked_from is not None:
            top = upcast(self.raw_scores[item, heads, rows]).amax(dim=-1, keepdim=True)
            no_weight = self.weights(item, heads, rows, cols.start, cols.stop) < NEGLIGIBLE
            hidden |= (tile - top <= self._masked_from) & no_weight
        return hidden

    @cached_property
    def _masked_from(self) -> float | None:
        """The difference from its row's largest at or below which a score is masked."""
        assert self.raw_scores is not None
        below = [
            upcast(scores) - upcast(scores).amax(dim=-1, keepdim=True)
            for scores in self.raw_scores.flatten(0, 1)  # (n_q, n_k) each
        ]
        return masked_from(torch.stack(below).nan_to_num(nan=0.0, neginf=-torch.inf))

    def masks_as(self, other: LayerRecord) -> bool:
        """Whether ``masked`` of another record is known to be the same: of no other."""
        return other is self

    def visible_counts(self, item: int, heads: slice) -> Tensor | None:
        """(n_k,) float64: how many queries see each key, averaged over these heads."""
        return None if self.raw_scores is None else count_visible(self, item, heads)

    @property
    def signed(self) -> bool:
        """Whether a weight may be negative: the module may have computed anything."""
        return True

    def finish(self, out: Tensor, item: int, heads: slice, rows: slice) -> Tensor:
        """A dense layer's output is weights @ values."""
        return out

    def key_range(self, item: int, rows: slice) -> tuple[int, int]:
        """All keys."""
        return 0, self.shape[3]

    @property
    def unedited(self) -> WeightsRecord:
        """The record without interventions: itself."""
        return self

    @property
    def modifiers(self) -> None:
        """The score modifiers: unknown."""
        return None

    @property
    def scaling(self) -> float | None:
        """The factor on q @ k.T: unknown."""
        return None

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""
        return self.values.device

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        tensors = (self.values, self.raw_scores, self.q, self.k, self.v)
        return sum(t.nbytes for t in tensors if t is not None)


LayerRecord: TypeAlias = "QKVRecord | WeightsRecord | EditedRecord"


def row_blocks(n_q: int, n_k: int, heads: int = 1) -> Iterator[slice]:
    """Blocks of rows whose scores stay within ``CELLS``."""
    step = max(1, CELLS // max(1, n_k * heads))
    for i in range(0, n_q, step):
        yield slice(i, min(i + step, n_q))


def outputs(layer: LayerRecord, item: int, heads: slice, rows: slice) -> Tensor:
    """(h, r, d_v): weights @ V of some heads and rows.

    Raises:
        AttnVizError: the layer's values are unknown.
    """
    w, v = _operands(layer, item, heads, rows)
    return layer.finish(matmul_by_group(w, v), item, heads, rows)  # (h, r, d_v)


def outputs_and_scale(
    layer: LayerRecord, item: int, heads: slice, rows: slice, magnitudes: Tensor
) -> tuple[Tensor, Tensor]:
    """(h, r, d_v) weights @ V, and (h, r) the scale to which a row's rounding is relative.

    The scale is the maximum over d of Σ_j |w_ij| |v_jd|.

    Args:
        magnitudes: (H_kv, n_k, d_v) the item's |V|, shared by all blocks of rows.

    Raises:
        AttnVizError: the layer's values are unknown.
    """
    w, v = _operands(layer, item, heads, rows)
    out = layer.finish(matmul_by_group(w, v), item, heads, rows)
    lo, hi = layer.key_range(item, rows)
    sizes = matmul_by_group(w.abs(), magnitudes[layer.kv_heads(heads), lo:hi].to(w))  # (h, r, d_v)
    return out, torch.maximum(sizes.amax(dim=-1), out.abs().amax(dim=-1))


def _operands(layer: LayerRecord, item: int, heads: slice, rows: slice) -> tuple[Tensor, Tensor]:
    """(h, r, c) weights and (h_kv, c, d_v) values of the keys that these rows may see."""
    if layer.v is None:
        raise AttnVizError(
            "The values of this layer are computed inside its module and are not available.",
            "Look at its weights, which the module returns.",
        )
    lo, hi = layer.key_range(item, rows)
    w = layer.weights(item, heads, rows, lo, hi)
    return w, upcast(layer.v[item, layer.kv_heads(heads), lo:hi])


def count_visible(layer: LayerRecord, item: int, heads: slice) -> Tensor:
    """(n_k,) float64: how many queries see each key, averaged over these heads."""
    _, _, n_q, n_k = layer.shape
    h = heads.stop - heads.start
    counts = torch.zeros(n_k, dtype=torch.float64)
    for rows in row_blocks(n_q, n_k, h):
        hidden = layer.masked(item, heads, rows, slice(0, n_k))
        r = rows.stop - rows.start
        counts += r
        if hidden is not None:
            counts -= hidden.expand(h, r, n_k).sum(dim=1).double().mean(dim=0).cpu()
    return counts
