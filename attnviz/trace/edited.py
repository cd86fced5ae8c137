"""A layer as it was after interventions on its heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace.compute import QKVRecord, count_visible, outputs, row_blocks, upcast
from attnviz.trace.modifiers import ScoreModifiers


@dataclass(frozen=True)
class HeadChange:
    """What an intervention changes of one head: its weights, or its output.

    Attributes:
        temperature: the scores are divided by it; of a set pattern, weights ** (1 / temperature).
        blocked: (query, key) pairs that get no weight; the row's others share what it had.
        pattern: (n_q, n_k) weights instead of the head's own.
        factor: on the head's output.
        output: (B or 1, n_q or 1, d_v) instead of the head's output.
    """

    head: int
    temperature: float = 1.0
    blocked: tuple[tuple[int, int], ...] = ()
    pattern: Tensor | None = None
    factor: float = 1.0
    output: Tensor | None = None

    def rows(self, layer: QKVRecord | EditedRecord, item: int) -> list[slice]:
        """The queries of an item whose weights it changes, if it acts on the layer now."""
        n_q, n_k = layer.shape[2:]
        if self.pattern is not None or self.temperature != 1.0:
            return list(row_blocks(n_q, n_k))
        head, at = slice(self.head, self.head + 1), [slice(q, q + 1) for q, _ in self.blocked]
        keys = [key for _, key in self.blocked]
        return [
            row
            for row, key in zip(at, keys, strict=True)
            if bool(layer.weights(item, head, row, 0, n_k)[0, 0, key] != 0.0)
        ]


@dataclass(frozen=True)
class EditedRecord:
    """A layer as it was after interventions; answers what `QKVRecord` answers.

    The changes of a head act one after the other: those of its weights first, on the scores until
    a pattern is set and on the weights from then on, and those of its output behind them.
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
        """The modifiers of the layer before the interventions."""
        return self.base.modifiers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, n_q, n_k)."""
        return self.base.shape

    def kv_heads(self, heads: slice) -> slice:
        """The key/value heads that serve these query heads."""
        return self.base.kv_heads(heads)

    def scores(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): scores of a tile as the interventions left them.

        Raises:
            AttnVizError: a head's weights were set by hand.
        """
        if self._patterned(heads):
            raise AttnVizError(
                "This head's weights were set by hand: no scores lead to them.",
                "Look at its weights.",
            )
        return self._scores(item, heads, rows, cols)

    def masked(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h, r, c), True where a key is masked or blocked; None if none is, or a head's weights
        were set by hand."""
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

    def visible_counts(self, item: int, heads: slice) -> Tensor | None:
        """(n_k,) float64: how many queries may look at each key, the mean of these heads."""
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
        """(h, r, hi - lo) each: weights of whole rows, and the scores whose softmax they are; None
        if some head's weights were set by hand."""
        s = self._scores(item, heads, rows, slice(lo, hi))
        w = self.base.softmax(s, item, heads, rows)
        patterned = self._patterned(heads)
        for head in patterned:
            w[head - heads.start] = self._set(head, rows)[:, lo:hi].to(w)
        return w, None if patterned else s

    def finish(self, out: Tensor, item: int, heads: slice, rows: slice) -> Tensor:
        """What the interventions make of weights @ values, (h, r, d_v)."""
        scores = None
        if self.modifiers.sink_gates_output:
            scores = self._scores(item, heads, rows, slice(0, self.shape[3]))
        out = self.base.finish(out, item, heads, rows, scores)
        for change, i in self._of(heads):
            if change.output is not None:
                new = change.output[min(item, len(change.output) - 1)]
                out[i] = (new if len(new) == 1 else new[rows]).to(out)
            out[i] *= change.factor
        return out

    def pattern(self, head: int) -> Tensor | None:
        """(n_q, n_k): the weights that a head was given last by hand; None if it has its own."""
        given = [c.pattern for c in self.changes if c.head == head and c.pattern is not None]
        return given[-1] if given else None

    def key_range(self, item: int, rows: slice) -> tuple[int, int]:
        """Keys outside of which these rows have no weight."""
        return (0, self.shape[3]) if self.signed else self.base.key_range(item, rows)

    @property
    def signed(self) -> bool:
        """Whether a weight may be negative: a pattern's may."""
        return any(c.pattern is not None for c in self.changes)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.base.device

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = [t for c in self.changes for t in (c.pattern, c.output) if t is not None]
        return self.base.nbytes + sum(t.nbytes for t in held)

    def _of(self, heads: slice) -> Iterator[tuple[HeadChange, int]]:
        for change in self.changes:
            if heads.start <= change.head < heads.stop:
                yield change, change.head - heads.start

    def _patterned(self, heads: slice) -> list[int]:
        """The heads whose weights were set by hand."""
        return sorted({c.head for c, _ in self._of(heads) if c.pattern is not None})

    def _on_scores(self, heads: slice) -> Iterator[tuple[HeadChange, int]]:
        """The changes that act on a head's scores: those before its pattern was set."""
        done: set[int] = set()
        for change, i in self._of(heads):
            if change.pattern is not None:
                done.add(i)
            elif i not in done and (change.temperature != 1.0 or change.blocked):
                yield change, i

    def _blocked(self, heads: slice, rows: slice, cols: slice) -> list[tuple[int, int, int]]:
        """Cells of a tile that were blocked on the way to the softmax."""
        return [
            (i, query - rows.start, key - cols.start)
            for change, i in self._on_scores(heads)
            for query, key in change.blocked
            if rows.start <= query < rows.stop and cols.start <= key < cols.stop
        ]

    def _scores(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): what the softmax was given.

        What was masked stays so: a fill that is divided, or has no visible key beside it any more,
        would let its keys in.
        """
        s = self.base.scores(item, heads, rows, cols)
        for change, i in self._on_scores(heads):
            if change.temperature != 1.0:
                s[i] /= change.temperature
        for i in sorted({i for _, i in self._on_scores(heads)}):
            head = slice(heads.start + i, heads.start + i + 1)
            hidden = self.base.masked(item, head, rows, cols)
            blind = self.modifiers.fully_masked_rows(item, head, rows, self.shape[3])
            if hidden is not None and blind is not None:
                s[i].masked_fill_((hidden & ~blind)[0], -torch.inf)
        for cell in self._blocked(heads, rows, cols):
            s[cell] = -torch.inf
        return s

    def _set(self, head: int, rows: slice) -> Tensor:
        """(r, n_k): a head's weights since they were set by hand; a row keeps its sum."""
        w = torch.empty(0)
        for change, _ in self._of(slice(head, head + 1)):
            if change.pattern is not None:
                w = upcast(change.pattern[rows]).clone()
            elif len(w):
                total = w.sum(dim=-1, keepdim=True)
                if change.temperature != 1.0:
                    top = w.amax(dim=-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
                    w = (w / top) ** (1 / change.temperature)  # by the largest: no underflow
                    w *= total / w.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
                for query, key in change.blocked:
                    if rows.start <= query < rows.stop:
                        i = query - rows.start
                        w[i, key] = 0.0
                        left = w[i].sum()
                        if left * total[i, 0] > 0:  # else nothing there to share it
                            w[i] *= total[i, 0] / left
        return w


def applied(
    change: HeadChange, layer: QKVRecord | EditedRecord, output: Tensor
) -> tuple[EditedRecord, Tensor]:
    """The layer and its output, (B, n_q, H, d_v), after a change.

    What it leaves alone keeps its bits: other heads, rows whose weights stay as they were, and all
    of them where it changes nothing.
    """
    base, before = (layer, ()) if isinstance(layer, QKVRecord) else (layer.base, layer.changes)
    edited = EditedRecord(base, (*before, change))
    output, head = output.clone(), slice(change.head, change.head + 1)
    mine = output[:, :, change.head]  # (B, n_q, d_v)
    for item in range(len(output)):
        for rows in change.rows(layer, item):
            mine[item, rows] = outputs(edited, item, head, rows)[0].to(output)
    if change.output is not None:
        mine[:] = change.output.to(output)
    if change.factor != 1.0:
        mine *= change.factor
    return edited, output
