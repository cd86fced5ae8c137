"""Terms: the masks and biases that a layer adds to its scores.

Whether a cell is masked is a property of the term. Models mask with -inf, the lowest number of
their format, -1e9, -1e4 or -100, and some add a bias to the same tensor (ALiBi), so the score of a
cell alone does not tell.

A new kind of term is one subclass of `Term` here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

# A fill at or below this is a hard mask: exp gives an exact 0 beside any visible key.
HARD_MASK = -1e30


class Term:
    """Something added to the scores. It knows what it masks, its size and its parts.

    Subclasses are frozen dataclasses of tensors and numbers; ``form`` is their name in files.
    """

    form: ClassVar[str]
    forms: ClassVar[dict[str, type[Term]]] = {}

    def __init_subclass__(cls, form: str = "") -> None:
        if form:  # abstract terms have none
            cls.form = form
            Term.forms[form] = cls

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds itself to a tile of scores, (h, r, c), in place."""
        raise NotImplementedError

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if the term masks nothing."""
        return None

    def visible_ranges(self, item: int) -> tuple[Tensor, Tensor] | None:
        """(n_q,) each: row i sees keys ``lo[i] <= j < hi[i]``; None if it isn't one range a row."""
        return None

    @property
    def as_interval(self) -> IntervalMask | None:
        """The whole term as one range of visible keys a row; None if it is anything else."""
        return None

    @property
    def is_mask(self) -> bool:
        """Whether it masks anything."""
        return False

    @property
    def weakest_fill(self) -> float:
        """The largest number that stands at a masked cell; -inf rules a key out completely."""
        return -torch.inf

    def parts(self) -> dict[str, Any]:
        """Tensors and numbers by name; ``Term.forms[term.form](**term.parts())`` is a copy."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def equals(self, other: Term) -> bool:
        """Whether another term adds the same to any scores."""
        mine, theirs = self.parts(), other.parts()
        return self.form == other.form and all(
            torch.equal(part, theirs[name]) if isinstance(part, Tensor) else part == theirs[name]
            for name, part in mine.items()
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(t.nbytes for t in self.parts().values() if isinstance(t, Tensor))


@dataclass(frozen=True)
class IntervalMask(Term, form="interval"):
    """Row i of item b sees keys ``lo[b, i] <= j < hi[b, i]``; all others get ``fill``.

    Attributes:
        lo, hi: (B or 1, n_q) int64.
        fill: what is added to masked scores: -inf, or a large negative number where the model does
            that (then a row without a visible key attends uniformly, as it does in the model).
    """

    lo: Tensor
    hi: Tensor
    fill: float

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds itself to a tile of scores, (h, r, c), in place."""
        lo, hi = (t[rows] for t in self.visible_ranges(item))
        # only columns that some row can't see need work
        visible_from = min(max(int(lo.max()), cols.start), cols.stop)
        visible_to = max(min(int(hi.min()), cols.stop), cols.start)
        parts = [(cols.start, visible_from), (visible_to, cols.stop)]
        if visible_from >= visible_to:
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
        lo, hi = self.visible_ranges(item)
        return _outside(lo[rows], hi[rows], cols.start, cols.stop)[None]

    def visible_ranges(self, item: int) -> tuple[Tensor, Tensor]:
        """(n_q,) each: row i sees keys ``lo[i] <= j < hi[i]``."""
        b = min(item, len(self.lo) - 1)
        return self.lo[b], self.hi[b]

    @property
    def as_interval(self) -> IntervalMask:
        """Itself."""
        return self

    def shifted(self, offset: int, n_k: int) -> IntervalMask:
        """The same rows with ``offset`` more keys before the n_k of this mask."""
        return IntervalMask(self.lo + offset, self.hi.clamp(max=n_k) + offset, self.fill)

    @property
    def is_mask(self) -> bool:
        """Always."""
        return True

    @property
    def weakest_fill(self) -> float:
        """The fill."""
        return self.fill


class ElementwiseTerm(Term):
    """A term with a number for each cell; numbers at or below ``masked_from`` are masked.

    Attributes:
        masked_from: None if no cell is masked.
    """

    masked_from: float | None

    def tile(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h or 1, r or 1, c): the numbers of a tile."""
        raise NotImplementedError

    def add_to(self, scores: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> None:
        """Adds itself to a tile of scores, (h, r, c), in place."""
        scores += self.tile(item, heads, rows, cols)

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if the term masks nothing."""
        if self.masked_from is None:
            return None
        return self.tile(item, heads, rows, cols) <= self.masked_from

    @property
    def is_mask(self) -> bool:
        """Whether it masks anything."""
        return self.masked_from is not None

    @property
    def weakest_fill(self) -> float:
        """The number from which cells count as masked."""
        return -torch.inf if self.masked_from is None else self.masked_from


@dataclass(frozen=True)
class DenseTerm(ElementwiseTerm, form="dense"):
    """A term kept as a whole tensor: (B or 1, H or 1, n_q or 1, n_k), added to the scores.

    Attributes:
        masked_from: cells at or below it are masked; None if there are none.
    """

    values: Tensor
    masked_from: float | None = None

    def tile(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h or 1, r or 1, c): the numbers of a tile."""
        t = self.values[min(item, self.values.shape[0] - 1)]
        t = t if t.shape[0] == 1 else t[heads]
        t = t if t.shape[1] == 1 else t[:, rows]
        return t[:, :, cols]


@dataclass(frozen=True)
class RelativeBias(ElementwiseTerm, form="relative"):
    """A number per head and distance: score (i, j) gets ``by_distance[b, h, j - i + n_q - 1]``.

    Attributes:
        by_distance: (B or 1, H or 1, n_q + n_k - 1).
        n_q: number of rows; distance 0 is at index n_q - 1.
        masked_from: distances at or below it are masked; None if there are none.
    """

    by_distance: Tensor
    n_q: int
    masked_from: float | None = None

    def tile(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h or 1, r, c): the numbers of a tile."""
        f = self.by_distance[min(item, self.by_distance.shape[0] - 1)]
        f = f if f.shape[0] == 1 else f[heads]
        i = torch.arange(rows.start, rows.stop, device=f.device)
        j = torch.arange(cols.start, cols.stop, device=f.device)
        return f[:, j[None, :] - i[:, None] + self.n_q - 1]


def causal(n_q: int, offset: int = 0, device: torch.device | str = "cpu") -> IntervalMask:
    """Row i sees keys 0 .. i + offset."""
    hi = torch.arange(1, n_q + 1, device=device)[None] + offset
    return IntervalMask(torch.zeros_like(hi), hi, -torch.inf)


def _outside(lo: Tensor, hi: Tensor, start: int, stop: int) -> Tensor:
    """(r, stop - start), True where a key lies outside its row's range."""
    j = torch.arange(start, stop, device=lo.device)
    return (j < lo[:, None]) | (j >= hi[:, None])
