"""The terms a layer adds to its scores: masks and biases.

Whether a cell is masked is a property of the term. Models mask with -inf, the lowest number of
their format, -1e9, -1e4 or -100, and some add a bias to the same tensor (ALiBi), so the score of a
cell alone does not tell.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

# No score makes up for this: exp gives an exact 0 for such a key beside any visible one.
HARD_MASK = -1e30


class Term:
    """Something added to the scores: it answers for what it masks, holds and is made of.

    Subclasses are frozen dataclasses of tensors and numbers, ``form`` their name in files.
    """

    form: ClassVar[str]
    forms: ClassVar[dict[str, type[Term]]] = {}

    def __init_subclass__(cls, form: str = "") -> None:
        if form:  # a kind of terms has none
            cls.form = form
            Term.forms[form] = cls

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds to a tile of scores, (h, r, c), in place."""
        raise NotImplementedError

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if it masks nothing at all."""
        return None

    def ranges(self, item: int) -> tuple[Tensor, Tensor] | None:
        """(n_q,) each: row i sees keys ``lo[i] <= j < hi[i]``; None if it masks in another way."""
        return None

    @property
    def masking(self) -> bool:
        """Whether it masks anything."""
        return False

    @property
    def lowest(self) -> float:
        """The smallest penalty of a masked key: -inf leaves nothing to attend to in a row."""
        return -torch.inf

    def parts(self) -> dict[str, Any]:
        """What it is made of, by name: ``Term.forms[term.form](**term.parts())`` is its like."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held."""
        return sum(t.nbytes for t in self.parts().values() if isinstance(t, Tensor))


@dataclass(frozen=True)
class IntervalMask(Term, form="interval"):
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
        lo, hi = (t[rows] for t in self.ranges(item))
        # only columns that some row may not see need a look
        seen_from = min(max(int(lo.max()), cols.start), cols.stop)
        seen_to = max(min(int(hi.min()), cols.stop), cols.start)
        parts = [(cols.start, seen_from), (seen_to, cols.stop)]
        if seen_from >= seen_to:
            parts = [(cols.start, cols.stop)]
        for start, stop in parts:
            if start < stop:
                hidden = _outside(lo, hi, start, stop)  # (r, c)
                tile = scores[:, :, start - cols.start : stop - cols.start]
                if self.fill == -torch.inf:
                    tile.masked_fill_(hidden, self.fill)
                else:
                    tile += torch.zeros_like(hidden, dtype=tile.dtype).masked_fill_(
                        hidden, self.fill
                    )

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(1, r, c), True where a key is masked."""
        lo, hi = self.ranges(item)
        return _outside(lo[rows], hi[rows], cols.start, cols.stop)[None]

    def ranges(self, item: int) -> tuple[Tensor, Tensor]:
        """(n_q,) each: row i sees keys ``lo[i] <= j < hi[i]``."""
        b = min(item, len(self.lo) - 1)
        return self.lo[b], self.hi[b]

    @property
    def masking(self) -> bool:
        """It does."""
        return True

    @property
    def lowest(self) -> float:
        """The fill."""
        return self.fill


class ElementwiseTerm(Term):
    """A term of one number a cell, of which those at or below ``masked_from`` mask.

    Attributes:
        masked_from: None if no cell is masked.
    """

    masked_from: float | None

    def tile(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h or 1, r or 1, c) numbers of a tile."""
        raise NotImplementedError

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds to a tile of scores, (h, r, c), in place."""
        scores += self.tile(item, heads, rows, cols)

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if it masks nothing at all."""
        if self.masked_from is None:
            return None
        return self.tile(item, heads, rows, cols) <= self.masked_from

    @property
    def masking(self) -> bool:
        """Whether it masks anything."""
        return self.masked_from is not None

    @property
    def lowest(self) -> float:
        """A masked cell has this or less."""
        return -torch.inf if self.masked_from is None else self.masked_from


@dataclass(frozen=True)
class DenseTerm(ElementwiseTerm, form="dense"):
    """A term kept as the tensor it is: (B or 1, H or 1, n_q or 1, n_k), added to the scores.

    Attributes:
        masked_from: cells at or below it are masked; None if there are none.
    """

    values: Tensor
    masked_from: float | None = None

    def tile(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h or 1, r or 1, c) numbers of a tile."""
        t = self.values[min(item, self.values.shape[0] - 1)]
        t = t if t.shape[0] == 1 else t[heads]
        t = t if t.shape[1] == 1 else t[:, rows]
        return t[:, :, cols]


@dataclass(frozen=True)
class RelativeBias(ElementwiseTerm, form="relative"):
    """A number per head and distance: score (i, j) gets ``by_distance[b, h, j - i + n_q - 1]``.

    Attributes:
        by_distance: (B or 1, H or 1, n_q + n_k - 1).
        n_q: rows, which fixes where distance 0 lies.
        masked_from: distances whose number is at or below it are masked; None if there are none.
    """

    by_distance: Tensor
    n_q: int
    masked_from: float | None = None

    def tile(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h or 1, r, c) numbers of a tile."""
        f = self.by_distance[min(item, self.by_distance.shape[0] - 1)]
        f = f if f.shape[0] == 1 else f[heads]
        i = torch.arange(rows.start, rows.stop, device=f.device)
        j = torch.arange(cols.start, cols.stop, device=f.device)
        return f[:, j[None, :] - i[:, None] + self.n_q - 1]


def causal(n_q: int, offset: int = 0, device: torch.device | str = "cpu") -> IntervalMask:
    """Row i looks at keys 0 .. i + offset."""
    hi = torch.arange(1, n_q + 1, device=device)[None] + offset
    return IntervalMask(torch.zeros_like(hi), hi, -torch.inf)


def _outside(lo: Tensor, hi: Tensor, start: int, stop: int) -> Tensor:
    """(r, stop - start), True where a key lies outside of its row's range."""
    j = torch.arange(start, stop, device=lo.device)
    return (j < lo[:, None]) | (j >= hi[:, None])
