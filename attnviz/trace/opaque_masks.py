"""Masks that are no tensor of rows and keys: flash attention's and flex attention's.

What they hide is worked out from what they are, in rows of bounded memory, and kept as any other
mask is. One that says nothing here is refused, never ignored.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_mask

from attnviz.trace.term_detection import mask_term
from attnviz.trace.terms import IntervalMask, Term

# Cells looked at in one go.
_CELLS = 1 << 22


class UnreadableMask(Exception):
    """A mask of a kind that is not known; the message is the reason."""


def padding_term(keys: Tensor, n_q: int) -> Term | None:
    """Flash attention's padding, (B, n_k), not 0 where there is text: padding neither looks nor is
    looked at."""
    text = keys != 0
    B, n_k = text.shape
    if bool(text.all()):
        return None
    count = text.sum(-1)
    first = text.to(torch.uint8).argmax(-1)
    last = n_k - text.flip(-1).to(torch.uint8).argmax(-1)
    queries = text if n_q == n_k else torch.ones(B, n_q, dtype=torch.bool, device=text.device)
    if torch.equal(last - first, count):
        lo = first[:, None].expand(B, n_q)
        hi = torch.where(queries, last[:, None], lo)
        return IntervalMask(lo.contiguous(), hi, -torch.inf)
    return mask_term(text[:, None, None, :] & queries[:, None, :, None])


def window_term(
    n_q: int, n_k: int, window: int, offset: int, causal: bool, device: torch.device
) -> IntervalMask:
    """Row i looks at the ``window`` keys that end with key i + offset; without ``causal`` also at
    the ``window - 1`` that follow."""
    i = torch.arange(n_q, device=device)[None] + offset
    lo = (i - window + 1).clamp(0, n_k)
    hi = (i + (1 if causal else window)).clamp(0, n_k)
    return IntervalMask(lo, torch.maximum(lo, hi), -torch.inf)


def block_mask_term(mask: Any, n_q: int, n_k: int) -> Term | None:
    """Flex attention's `BlockMask`, from the function that it was made of.

    Raises:
        UnreadableMask: any other object.
    """
    if not isinstance(mask, BlockMask):
        raise UnreadableMask(f"its mask is a {type(mask).__name__}, which cannot be read")
    B, H = mask.shape[:2]
    device = mask.kv_num_blocks.device
    step = max(1, _CELLS // (B * H * n_k))
    lo, hi = [], []
    for start in range(0, n_q, step):
        rows = min(step, n_q - start)

        def allowed(b: Tensor, h: Tensor, q: Tensor, k: Tensor, start: int = start) -> Tensor:
            return mask.mask_mod(b, h, q + start, k)

        term = mask_term(create_mask(allowed, B, H, rows, n_k, device))
        if term is None:
            term = IntervalMask(
                torch.zeros(1, rows, dtype=torch.int64, device=device),
                torch.full((1, rows), n_k, device=device),
                -torch.inf,
            )
        if not isinstance(term, IntervalMask):  # some rows see keys apart from each other
            return mask_term(create_mask(mask.mask_mod, B, H, n_q, n_k, device))
        lo.append(term.lo.expand(B, -1))
        hi.append(term.hi.expand(B, -1))
    return IntervalMask(torch.cat(lo, dim=1), torch.cat(hi, dim=1), -torch.inf)
