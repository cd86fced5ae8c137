"""The record of a layer after interventions on its heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import LayerRecord, QKVRecord, count_visible, outputs, row_blocks
from attnviz.trace.tile_math import upcast


@dataclass(frozen=True)
class HeadChange:
    """What an intervention changes in one head: its weights, or its output.

    Attributes:
        temperature: divides the scores; for a set pattern, weights ** (1 / temperature).
        blocked: (query, key) pairs that get no weight; the row's other keys share it.
        pattern: (n_q, n_k) weights that replace the head's own.
        factor: multiplies the head's output.
        output: (B or 1, n_q or 1, d_v) replaces the head's output.
    """

    head: int
    temperature: float = 1.0
    blocked: tuple[tuple[int, int], ...] = ()
    pattern: Tensor | None = None
    factor: float = 1.0
    output: Tensor | None = None

    def rows(self, layer: QKVRecord | EditedRecord, item: int) -> list[slice]:
        """The queries of an item whose weights change, if this is applied to the layer."""
        n_q, n_k = layer.shape[2:]
        if self.pattern is not None or self.temperature != 1.0:
            return list(row_blocks(n_q, n_k))
        head = slice(self.head, self.head + 1)
        edges = [(slice(query, query + 1), key) for query, key in self.blocked]
        return [
            row
            for row, key in edges
            if bool(layer.weights(item, head, row, 0, n_k)[0, 0, key] != 0.0)
        ]


@dataclass(frozen=True)
class EditedRecord:
    """A layer after interventions, with the methods of `QKVRecord`.

    A head's changes act one after the other: first those of its weights (on the scores until a
    pattern is set, on the weights from then on), then those of its output.
    """

    base: QKVRecord
    changes: tuple[HeadChange, ...]

    @property
    def q(self) -> Tensor:
        """(B, H, n_q, d_head)."""
        return self.base.q

    @property
    def k(self) -> Tensor:
        """(B, H_kv, n_k, d_head)."""
        return self.base.k

    @property
    def v(self) -> Tensor:
        """(B, H_kv, n_k, d_v)."""
        return self.base.v

    @property
    def modifiers(self) -> ScoreModifiers:
        """The score modifiers of the layer, without the interventions."""
        return self.base.modifiers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, n_q, n_k)."""
        return self.base.shape

    def kv_heads(self, heads: slice) -> slice:
        """The key/value heads that serve these query heads."""
        return self.base.kv_heads(heads)

    def scores(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): scores of a tile after the interventions.

        Raises:
            AttnVizError: a head's weights were set by an edit.
        """
        if self._patterned(heads):
            raise AttnVizError(
                "This head's weights were set by an edit, so there are no scores.",
                "Look at its weights.",
            )
        return self._scores(item, heads, rows, cols)

    def masked(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h, r, c), True where a key is masked or blocked.

        None if no key is, or if a head's weights were set by an edit.
        """
        if self._patterned(heads):
            return None
        hidden = self.base.masked(item, heads, rows, cols)
        blocked = self._blocked(heads, rows, cols)
        if not blocked:
            return hidden
        h, r, c = (s.stop - s.start for s in (heads, rows, cols))
        if hidden is None:
            hidden = torch.zeros(1, 1, 1, dtype=torch.bool, device=self.q.device)
        hidden = hidden.expand(h, r, c).clone()
        for cell in blocked:
            hidden[cell] = True
        return hidden

    def masks_as(self, other: LayerRecord) -> bool:
        """Whether ``masked`` of another record is known to be the same: of no other."""
        return other is self

    def visible_counts(self, item: int, heads: slice) -> Tensor | None:
        """(n_k,) float64: how many queries see each key, averaged over these heads."""
        if self._patterned(heads):
            return None
        _, _, n_q, n_k = self.shape
        if not self._blocked(heads, slice(0, n_q), slice(0, n_k)):
            return self.base.visible_counts(item, heads)
        return count_visible(self, item, heads)

    def weights(self, item: int, heads: slice, rows: slice, lo: int, hi: int) -> Tensor:
        """(h, r, hi - lo) weights of whole rows."""
        return self.weights_and_scores(item, heads, rows, lo, hi)[0]

    def weights_and_scores(
        self, item: int, heads: slice, rows: slice, lo: int, hi: int
    ) -> tuple[Tensor, Tensor | None]:
        """(h, r, hi - lo) each: weights of whole rows, and the scores whose softmax they are.

        The scores are None if some head's weights were set by an edit.
        """
        s = self._scores(item, heads, rows, slice(lo, hi))
        w = self.base.softmax(s, item, heads, rows)
        patterned = self._patterned(heads)
        for head in patterned:
            w[head - heads.start] = self._pattern_rows(head, rows)[:, lo:hi].to(w)
        return w, None if patterned else s

    def finish(self, out: Tensor, item: int, heads: slice, rows: slice) -> Tensor:
        """Applies the changes of outputs to weights @ values, (h, r, d_v)."""
        scores = None
        if self.modifiers.sink_gates_output:
            scores = self._scores(item, heads, rows, slice(0, self.shape[3]))
        out = self.base.finish(out, item, heads, rows, scores)
        for change, i in self._changes_of(heads):
            if change.output is not None:
                new = change.output[min(item, len(change.output) - 1)]
                out[i] = (new if len(new) == 1 else new[rows]).to(out)
            out[i] *= change.factor
        return out

    def pattern(self, head: int) -> Tensor | None:
        """(n_q, n_k): the last weights that were set for a head by hand; None if it has its own."""
        patterns = [c.pattern for c in self.changes if c.head == head and c.pattern is not None]
        return patterns[-1] if patterns else None

    def key_range(self, item: int, rows: slice) -> tuple[int, int]:
        """The keys outside of which these rows have no weight."""
        return (0, self.shape[3]) if self.signed else self.base.key_range(item, rows)

    @property
    def signed(self) -> bool:
        """Whether a weight may be negative, as in a pattern set by an edit."""
        return any(c.pattern is not None for c in self.changes)

    @property
    def unedited(self) -> QKVRecord:
        """The record without the interventions."""
        return self.base

    @property
    def scaling(self) -> float | None:
        """The factor on q @ k.T."""
        return self.base.scaling

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""
        return self.base.device

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        tensors = [t for c in self.changes for t in (c.pattern, c.output) if t is not None]
        return self.base.nbytes + sum(t.nbytes for t in tensors)

    def _changes_of(self, heads: slice) -> Iterator[tuple[HeadChange, int]]:
        """Each change of these heads, with its head's index among them."""
        for change in self.changes:
            if heads.start <= change.head < heads.stop:
                yield change, change.head - heads.start

    def _patterned(self, heads: slice) -> list[int]:
        """The heads whose weights were set by an edit."""
        return sorted({c.head for c, _ in self._changes_of(heads) if c.pattern is not None})

    def _on_scores(self, heads: slice) -> Iterator[tuple[HeadChange, int]]:
        """The changes that act on a head's scores: those before its pattern was set."""
        has_pattern: set[int] = set()
        for change, i in self._changes_of(heads):
            if change.pattern is not None:
                has_pattern.add(i)
            elif i not in has_pattern and (change.temperature != 1.0 or change.blocked):
                yield change, i

    def _blocked(self, heads: slice, rows: slice, cols: slice) -> list[tuple[int, int, int]]:
        """The cells of a tile that were blocked before the softmax."""
        return [
            (i, query - rows.start, key - cols.start)
            for change, i in self._on_scores(heads)
            for query, key in change.blocked
            if rows.start <= query < rows.stop and cols.start <= key < cols.stop
        ]

    def _scores(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): the input of the softmax.

        Masked keys stay masked. Otherwise a fill that is divided by a temperature, or a row whose
        last visible key was blocked, would give them weight.
        """
        s = self.base.scores(item, heads, rows, cols)
        for change, i in self._on_scores(heads):
            if change.temperature != 1.0:
                s[i] /= change.temperature
        for i in sorted({i for _, i in self._on_scores(heads)}):
            head = slice(heads.start + i, heads.start + i + 1)
            hidden = self.base.masked(item, head, rows, cols)
            no_key = self.modifiers.fully_masked_rows(item, head, rows, self.shape[3])
            if hidden is not None and no_key is not None:
                s[i].masked_fill_((hidden & ~no_key)[0], -torch.inf)
        for cell in self._blocked(heads, rows, cols):
            s[cell] = -torch.inf
        return s

    def _pattern_rows(self, head: int, rows: slice) -> Tensor:
        """(r, n_k): the weights of a head that were set by an edit, after later changes.

        A row keeps its sum.
        """
        w = torch.empty(0)
        for change, _ in self._changes_of(slice(head, head + 1)):
            if change.pattern is not None:
                w = upcast(change.pattern[rows]).clone()
            elif len(w):
                total = w.sum(dim=-1, keepdim=True)
                if change.temperature != 1.0:
                    top = w.amax(dim=-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
                    w = (w / top) ** (1 / change.temperature)  # of the largest: no underflow
                    w *= total / w.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
                for query, key in change.blocked:
                    if rows.start <= query < rows.stop:
                        i = query - rows.start
                        w[i, key] = 0.0
                        remaining = w[i].sum()
                        if remaining * total[i, 0] > 0:  # else no key is there to share it
                            w[i] *= total[i, 0] / remaining
        return w


def apply_change(
    change: HeadChange, layer: QKVRecord | EditedRecord, output: Tensor
) -> tuple[EditedRecord, Tensor]:
    """The layer and its output, (B, n_q, H, d_v), after a change.

    What isn't changed stays bit-equal: other heads, rows whose weights stay the same, and
    everything where the change has no effect.
    """
    earlier = layer.changes if isinstance(layer, EditedRecord) else ()
    edited = EditedRecord(layer.unedited, (*earlier, change))
    output, head = output.clone(), slice(change.head, change.head + 1)
    head_output = output[:, :, change.head]  # (B, n_q, d_v)
    for item in range(len(output)):
        for rows in change.rows(layer, item):
            head_output[item, rows] = outputs(edited, item, head, rows)[0].to(output)
    if change.output is not None:
        head_output[:] = change.output.to(output)
    if change.factor != 1.0:
        head_output *= change.factor
    return edited, output
