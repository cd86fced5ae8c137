"""What happens to q @ k.T on its way to the softmax, kept small.

What is masked is a fact that a term carries. Models mask with -inf, the lowest number of their
format, -1e9, -1e4 or -100, and some add a bias to the same tensor (ALiBi), so no reader of scores
could tell from a number alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.trace.terms import HARD_MASK, Term


@dataclass(frozen=True)
class ScoreModifiers:
    """Everything between ``q @ k.T`` and the weights.

    ``scores = softcap(q @ k.T * scaling) + bias + mask``; ``weights = softmax(scores)``, over the
    keys and, where the layer has one, an attention sink that takes its share and is then dropped.

    Attributes:
        scaling: factor on q @ k.T.
        softcap: None, or c in ``c * tanh(x / c)`` (Gemma 2).
        terms: masks and biases, each added to the scores.
        sinks: None, or the sinks' scores, (H,) or (B, H, n_q, 1) (gpt-oss).
        sink_gates_output: the sink scales a row's output and not its weights (Granite SWA).
        mask_dtype: number format in which the model adds its masks, where that is half precision:
            a row without a visible key attends by what that leaves of its scores.
    """

    scaling: float
    softcap: float | None = None
    terms: tuple[Term, ...] = ()
    sinks: Tensor | None = None
    sink_gates_output: bool = False
    mask_dtype: torch.dtype | None = None

    def apply(self, s: Tensor, item: int, heads: slice, rows: slice, cols: slice) -> Tensor:
        """(h, r, c) scores from a tile of q @ k.T, which is overwritten."""
        if self.scaling != 1.0:
            s *= self.scaling
        if self.softcap is not None:
            s = self.softcap * torch.tanh(s / self.softcap)
        coarse = self.mask_dtype
        hidden = None if coarse is None else self.masks(item, heads, rows, cols)
        if hidden is not None:
            s = torch.where(hidden, s.to(coarse).to(s.dtype), s)
        for term in self.terms:
            term.add_to(s, item, heads, rows, cols)
        return s if hidden is None else torch.where(hidden, s.to(coarse).to(s.dtype), s)

    def sink_scores(self, item: int, heads: slice, rows: slice) -> Tensor | None:
        """(h, r or 1, 1) scores of the sink, or None."""
        if self.sinks is None:
            return None
        if self.sinks.ndim == 4:
            s = self.sinks[min(item, self.sinks.shape[0] - 1), heads]
            return s if s.shape[1] == 1 else s[:, rows]
        return self.sinks.reshape(-1)[heads, None, None]

    def masks(self, item: int, heads: slice, rows: slice, cols: slice) -> Tensor | None:
        """(h or 1, r or 1, c), True where a key is masked; None if no term masks anything."""
        found = None
        for term in self._masking:
            hidden = term.masks(item, heads, rows, cols)
            if hidden is not None:
                found = hidden if found is None else found | hidden
        return found

    def ranges(self, item: int, n_q: int, n_k: int) -> tuple[Tensor, Tensor] | None:
        """(n_q,) each, on the CPU: keys ``lo[i] <= j < hi[i]`` are seen; None if it is no range.

        A row that sees nothing has ``lo >= hi``.
        """
        lo, hi = torch.zeros(n_q, dtype=torch.int64), torch.full((n_q,), n_k)
        for term in self._masking:
            seen = term.ranges(item)
            if seen is None:
                return None
            lo, hi = torch.maximum(lo, seen[0].cpu()), torch.minimum(hi, seen[1].cpu())
        return lo, hi

    def fully_masked_rows(self, item: int, heads: slice, rows: slice, n_k: int) -> Tensor | None:
        """(h or 1, r or 1, 1), True for rows that see no key at all; None if no term masks."""
        hidden = self.masks(item, heads, rows, slice(0, n_k))
        return None if hidden is None else hidden.all(dim=-1, keepdim=True)

    def key_range(self, item: int, rows: slice, n_k: int) -> tuple[int, int]:
        """A range of keys outside of which these rows' weights are all exactly zero."""
        seen = [t.ranges(item) for t in self._masking if t.lowest <= HARD_MASK]
        known = [(lo[rows], hi[rows]) for lo, hi in (s for s in seen if s is not None)]
        if not known:
            return 0, n_k
        lo, hi = known[0]
        for other_lo, other_hi in known[1:]:
            lo, hi = torch.maximum(lo, other_lo), torch.minimum(hi, other_hi)
        filled = any(t.lowest > -torch.inf for t in self._masking)
        if filled and (len(known) < len(seen) or bool((lo >= hi).any())):
            return 0, n_k  # a row that sees nothing attends by what its fills leave of the scores
        first, last = max(0, int(lo.min())), min(n_k, int(hi.max()))
        return (first, last) if first < last else (0, n_k)

    @property
    def masks_are_hard(self) -> bool:
        """Whether a masked key has no weight beside a visible one, whatever the scores."""
        return all(term.lowest <= HARD_MASK for term in self._masking)

    @property
    def _masking(self) -> list[Term]:
        return [term for term in self.terms if term.masking]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held."""
        return sum(term.nbytes for term in self.terms)
