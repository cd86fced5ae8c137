"""Score modifiers: everything between ``q @ k.T`` and the softmax, in O(n) memory if possible."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.trace.terms import HARD_MASK, Term


@dataclass(frozen=True)
class ScoreModifiers:
    """What turns ``q @ k.T`` into weights.

    ``scores = softcap(q @ k.T * scaling) + bias + mask``; ``weights = softmax(scores)`` over the
    keys and, where the layer has one, an attention sink whose column is then dropped.

    Attributes:
        scaling: factor on q @ k.T.
        softcap: None, or c in ``c * tanh(x / c)`` (Gemma 2).
        terms: masks and biases, each added to the scores.
        sinks: None, or the scores of the sinks, (H,) or (B, H, n_q, 1) (gpt-oss).
        sink_gates_output: the sink scales a row's output instead of its weights (Granite SWA).
        mask_dtype: the dtype in which the model adds its masks, where that is half precision. The
            weights of a row without a visible key depend on it.
    """

    scaling: float
    softcap: float | None = None
    terms: tuple[Term, ...] = ()
    sinks: Tensor | None = None
    sink_gates_output: bool = False
    mask_dtype: torch.dtype | None = None

    def apply(self, s: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c): scores from a tile of q @ k.T, which is overwritten."""
        if self.scaling != 1.0:
            s *= self.scaling
        if self.softcap is not None:
            s = self.softcap * torch.tanh(s / self.softcap)
        half = self.mask_dtype
        hidden = None if half is None else self.masks(item, heads, rows, cols)
        if hidden is not None:
            s = torch.where(hidden, s.to(half).to(s.dtype), s)
        for term in self.terms:
            term.add_to(s, item, heads, rows, cols)
        return s if hidden is None else torch.where(hidden, s.to(half).to(s.dtype), s)

    def sink_scores(self, item: int, heads: slice, rows: slice) -> Tensor | None:
        """(h, r or 1, 1): scores of the sink; None if the layer has none."""
        if self.sinks is None:
            return None
        if self.sinks.ndim == 4:
            s = self.sinks[min(item, self.sinks.shape[0] - 1), heads]
            return s if s.shape[1] == 1 else s[:, rows]
        return self.sinks.reshape(-1)[heads, None, None]

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if no term masks anything."""
        combined = None
        for term in self._mask_terms:
            hidden = term.masks(item, heads, rows, cols)
            if hidden is not None:
                combined = hidden if combined is None else combined | hidden
        return combined

    def visible_ranges(self, item: int, n_q: int, n_k: int) -> tuple[Tensor, Tensor] | None:
        """(n_q,) each, on the CPU: row i sees keys ``lo[i] <= j < hi[i]``.

        A row that sees nothing has ``lo >= hi``. None if the masks aren't one range a row.
        """
        lo, hi = torch.zeros(n_q, dtype=torch.int64), torch.full((n_q,), n_k)
        for term in self._mask_terms:
            ranges = term.visible_ranges(item)
            if ranges is None:
                return None
            lo, hi = torch.maximum(lo, ranges[0].cpu()), torch.minimum(hi, ranges[1].cpu())
        return lo, hi

    def fully_masked_rows(self, item: int, heads: slice, rows: slice, n_k: int) -> Tensor | None:
        """(h or 1, r or 1, 1), True for rows that see no key at all; None if no term masks."""
        hidden = self.masks(item, heads, rows, slice(0, n_k))
        return None if hidden is None else hidden.all(dim=-1, keepdim=True)

    def key_range(self, item: int, rows: slice, n_k: int) -> tuple[int, int]:
        """A range of keys outside of which the weights of these rows are exactly zero."""
        hard = [t.visible_ranges(item) for t in self._mask_terms if t.weakest_fill <= HARD_MASK]
        known = [(lo[rows], hi[rows]) for lo, hi in (r for r in hard if r is not None)]
        if not known:
            return 0, n_k
        lo, hi = known[0]
        for other_lo, other_hi in known[1:]:
            lo, hi = torch.maximum(lo, other_lo), torch.minimum(hi, other_hi)
        finite_fill = any(t.weakest_fill > -torch.inf for t in self._mask_terms)
        if finite_fill and (len(known) < len(hard) or bool((lo >= hi).any())):
            return 0, n_k  # a row without a visible key gets weights from its filled scores
        first, last = max(0, int(lo.min())), min(n_k, int(hi.max()))
        return (first, last) if first < last else (0, n_k)

    @property
    def masks_are_hard(self) -> bool:
        """Whether a masked key has weight 0 beside a visible one, whatever the scores."""
        return all(term.weakest_fill <= HARD_MASK for term in self._mask_terms)

    def masks_as(self, other: ScoreModifiers) -> bool:
        """Whether both mask the same keys with the same fills."""
        mine, theirs = self._mask_terms, other._mask_terms
        return len(mine) == len(theirs) and all(map(Term.equals, mine, theirs))

    @property
    def _mask_terms(self) -> list[Term]:
        return [term for term in self.terms if term.is_mask]

    @property
    def nbytes(self) -> int:
        """Bytes of the terms' tensors."""
        return sum(term.nbytes for term in self.terms)
