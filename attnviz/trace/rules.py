"""What happens to q @ k.T on its way to the softmax, kept small.

A model hands its attention a mask and a bias that are often ``n_q x n_k`` tensors. Nearly all of
them say something short: "keys lo..hi of each row" or "a number per distance". Both are
recognised here and checked cell by cell, so that what is kept is O(n) and still exact. Anything
else is kept as it came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Cells looked at in one go while a mask or bias is being recognised: bounds the scratch memory.
_CELLS = 1 << 22


@dataclass(frozen=True)
class IntervalMask:
    """Row i of item b may look at keys ``lo[b, i] <= j < hi[b, i]``; the rest gets ``fill``.

    Attributes:
        lo, hi: (B or 1, n_q) int64.
        fill: what is added to the scores of masked cells: -inf, or a large negative number where
            the model does that (then a row with no key left attends evenly, as the model's does).
    """

    lo: Tensor
    hi: Tensor
    fill: float

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds to a tile of scores, (h, r, c), in place."""
        b = min(item, len(self.lo) - 1)
        lo, hi = self.lo[b, rows], self.hi[b, rows]
        # only columns that some row may not see need a look
        seen_from = min(max(int(lo.max()), cols.start), cols.stop)
        seen_to = max(min(int(hi.min()), cols.stop), cols.start)
        parts = [(cols.start, seen_from), (seen_to, cols.stop)]
        if seen_from >= seen_to:
            parts = [(cols.start, cols.stop)]
        for start, stop in parts:
            if start < stop:
                j = torch.arange(start, stop, device=lo.device)
                hidden = (j < lo[:, None]) | (j >= hi[:, None])  # (r, c)
                tile = scores[:, :, start - cols.start : stop - cols.start]
                if self.fill == -torch.inf:
                    tile.masked_fill_(hidden, self.fill)
                else:
                    tile += torch.zeros_like(hidden, dtype=tile.dtype).masked_fill_(
                        hidden, self.fill
                    )

    def span(self, item: int, rows: slice) -> tuple[int, int]:
        """The keys that any of these rows may look at, as one range (empty rows need them all)."""
        b = min(item, len(self.lo) - 1)
        lo, hi = self.lo[b, rows], self.hi[b, rows]
        if self.fill != -torch.inf and bool((lo >= hi).any()):
            return 0, 1 << 62
        return int(lo.min()), int(hi.max())


@dataclass(frozen=True)
class DenseTerm:
    """A term kept as the tensor it is: (B or 1, H or 1, n_q or 1, n_k), added to the scores."""

    values: Tensor

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds to a tile of scores, (h, r, c), in place."""
        t = self.values[min(item, self.values.shape[0] - 1)]
        t = t if t.shape[0] == 1 else t[heads]
        t = t if t.shape[1] == 1 else t[:, rows]
        scores += t[:, :, cols]


@dataclass(frozen=True)
class RelativeBias:
    """A number per head and distance: score (i, j) gets ``by_distance[b, h, j - i + n_q - 1]``.

    Attributes:
        by_distance: (B or 1, H or 1, n_q + n_k - 1).
        n_q: rows, which fixes where distance 0 lies.
    """

    by_distance: Tensor
    n_q: int

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds to a tile of scores, (h, r, c), in place."""
        f = self.by_distance[min(item, self.by_distance.shape[0] - 1)]
        f = f if f.shape[0] == 1 else f[heads]
        i = torch.arange(rows.start, rows.stop, device=f.device)
        j = torch.arange(cols.start, cols.stop, device=f.device)
        scores += f[:, j[None, :] - i[:, None] + self.n_q - 1]


Term = IntervalMask | DenseTerm | RelativeBias


@dataclass(frozen=True)
class ScoreRules:
    """Everything between ``q @ k.T`` and the weights.

    ``scores = softcap(q @ k.T * scaling) + bias + mask``; ``weights = softmax(scores)``, over the
    keys and, where the layer has one, an attention sink that takes its share and is then dropped.

    Attributes:
        scaling: factor on q @ k.T.
        softcap: None, or c in ``c * tanh(x / c)`` (Gemma 2).
        terms: masks and biases, each added to the scores.
        sinks: None, or the sinks' scores, (H,) or (B, H, n_q, 1) (gpt-oss).
        sink_gates_output: the sink scales a row's output and not its weights (Granite SWA).
    """

    scaling: float
    softcap: float | None = None
    terms: tuple[Term, ...] = ()
    sinks: Tensor | None = None
    sink_gates_output: bool = False

    def sink_scores(self, item: int, heads: slice, rows: slice) -> Tensor | None:
        """(h, r or 1, 1) scores of the sink, or None."""
        if self.sinks is None:
            return None
        if self.sinks.ndim == 4:
            s = self.sinks[min(item, self.sinks.shape[0] - 1), heads]
            return s if s.shape[1] == 1 else s[:, rows]
        return self.sinks.reshape(-1)[heads, None, None]

    def key_range(self, item: int, rows: slice, n_k: int) -> tuple[int, int]:
        """A range of keys outside of which these rows' weights are all zero."""
        lo, hi = 0, n_k
        for term in self.terms:
            if isinstance(term, IntervalMask):
                first, last = term.span(item, rows)
                if last > n_k:
                    return 0, n_k
                if term.fill < -1e30:
                    lo, hi = max(lo, first), min(hi, last)
        return (lo, hi) if lo < hi else (0, n_k)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held."""
        total = 0
        for term in self.terms:
            for value in vars(term).values():
                total += value.nbytes if isinstance(value, Tensor) else 0
        return total


def causal(n_q: int, offset: int = 0, device: torch.device | str = "cpu") -> IntervalMask:
    """Row i looks at keys 0 .. i + offset."""
    hi = torch.arange(1, n_q + 1, device=device)[None] + offset
    return IntervalMask(torch.zeros_like(hi), hi, -torch.inf)


def mask_term(mask: Tensor) -> Term | None:
    """The shortest exact form of an attention mask, (B or 1, H or 1, n_q or 1, n_k).

    A bool mask is True where a key may be seen; a float mask is added to the scores.
    None when it masks nothing.
    """
    fill = -torch.inf if mask.dtype == torch.bool else _fill(mask)
    if fill is None:
        return relative_or_dense(mask)
    if fill == 0.0:
        return None
    found = _intervals(_one_head(mask), fill)
    if found is not None:
        return found
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, fill)
    return DenseTerm(mask)


def relative_or_dense(bias: Tensor) -> Term:
    """The shortest exact form of an additive bias, (B or 1, H or 1, n_q or 1, n_k)."""
    n_q, n_k = bias.shape[-2:]
    if n_q < 2 or n_k < 2:
        return DenseTerm(bias)
    step = max(1, _CELLS // (n_k * bias.shape[0] * bias.shape[1]))
    for i in range(0, n_q - 1, step):
        stop = min(i + step, n_q - 1)
        if not torch.equal(bias[:, :, i:stop, :-1], bias[:, :, i + 1 : stop + 1, 1:]):
            return DenseTerm(bias)
    # column 0 downwards holds the distances -(n_q-1) .. 0, row 0 the distances 1 .. n_k-1
    by_distance = torch.cat([bias[:, :, :, 0].flip(-1), bias[:, :, 0, 1:]], dim=-1)
    return RelativeBias(by_distance.contiguous(), n_q)


def once(make: Callable[[Tensor], Term | None]) -> Callable[[Tensor], Term | None]:
    """``make`` with its answers kept per tensor: layers share masks, the work is done once.

    The tensors are held too, so that an address cannot be given to another one meanwhile.
    """
    seen: dict[tuple[object, ...], tuple[Tensor, Term | None]] = {}

    def cached(tensor: Tensor) -> Term | None:
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor._version)
        if key not in seen:
            seen[key] = (tensor, make(tensor))
        return seen[key][1]

    return cached


def _one_head(mask: Tensor) -> Tensor:
    """Drops a head dimension that is only an expansion."""
    return mask[:, :1] if mask.shape[1] > 1 and mask.stride(1) == 0 else mask


def _fill(mask: Tensor) -> float | None:
    """The one number that a float mask adds where it adds anything; None if there are several."""
    low = float(mask.min())
    if low == 0.0:
        return 0.0 if float(mask.max()) == 0.0 else None
    if low > -1e4:  # a gentle number is a bias, not a mask
        return None
    flat = _one_head(mask)
    step = max(1, _CELLS // max(1, flat.shape[-1] * flat.shape[0] * flat.shape[1]))
    for i in range(0, flat.shape[2], step):
        part = flat[:, :, i : i + step]
        if not bool(((part == low) | (part == 0.0)).all()):
            return None
    return low


def _intervals(mask: Tensor, fill: float) -> IntervalMask | None:
    """The mask as one range of keys a row, if it is that for every head and row."""
    B, H, n_q, n_k = mask.shape
    if H > 1:
        return None
    lo = torch.empty(B, n_q, dtype=torch.int64, device=mask.device)
    hi = torch.empty_like(lo)
    step = max(1, _CELLS // (n_k * B))
    for i in range(0, n_q, step):
        part = mask[:, 0, i : i + step]  # (B, r, n_k)
        allowed = (part if part.dtype == torch.bool else part == 0.0).to(torch.uint8)
        count = allowed.sum(-1, dtype=torch.int64)
        first = allowed.argmax(-1)
        last = n_k - allowed.flip(-1).argmax(-1)
        last = torch.where(count == 0, first, last)
        if not torch.equal(last - first, count):
            return None
        lo[:, i : i + step], hi[:, i : i + step] = first, last
    return IntervalMask(lo, hi, fill)
