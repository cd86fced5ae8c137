"""From a model's masks and biases to compact terms.

The tensors are often ``n_q x n_k``, but nearly all of them hold little information: "keys lo..hi of
each row" or "one number per distance". Both are detected here and verified cell by cell, so what is
kept takes O(n) memory and is still exact. Any other tensor is kept as it is.

Flash attention passes a padding mask of keys, flex attention a `BlockMask`; both become terms too.
A mask that can't be read is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_mask

from attnviz.trace.terms import HARD_MASK, DenseTerm, IntervalMask, RelativeBias, Term

# Cells examined at once: bounds the scratch memory.
_CELLS = 1 << 22

# No mask fills with more than -2**6: beside a visible key with a similar score, a key at -64 has a
# weight of 1e-28, and float32 can't tell anything below 6e-8 from 0 beside 1.
_WEAKEST_EXPONENT = 6


class UnreadableMask(Exception):
    """A mask of an unknown kind; the message says why."""


def mask_term(mask: Tensor) -> Term | None:
    """The most compact exact form of an attention mask, (B or 1, H or 1, n_q or 1, n_k).

    A bool mask is True where a key is visible; a float mask is added to the scores.
    None if it masks nothing.
    """
    if mask.dtype == torch.bool:
        if bool(mask.all()):
            return None
        zeros = torch.zeros(mask.shape, device=mask.device)
        return _intervals(_one_head(mask), -torch.inf) or relative_or_dense(
            zeros.masked_fill_(~mask, -torch.inf)
        )
    lowest = float(mask.min())
    if lowest == 0.0 and float(mask.max()) == 0.0:
        return None
    can_mask = lowest <= -(2.0**_WEAKEST_EXPONENT)
    intervals = _intervals(_one_head(mask), lowest) if can_mask else None
    return intervals or relative_or_dense(mask)


def relative_or_dense(bias: Tensor) -> Term:
    """The most compact exact form of an additive bias, (B or 1, H or 1, n_q or 1, n_k).

    It may mask as well: transformers adds ALiBi to the mask, and T5 the mask to its bias.
    """
    n_q, n_k = bias.shape[-2:]
    if n_q < 2 or n_k < 2:
        return DenseTerm(bias, masked_from(bias))
    step = max(1, _CELLS // (n_k * bias.shape[0] * bias.shape[1]))
    for i in range(0, n_q - 1, step):
        stop = min(i + step, n_q - 1)
        if not torch.equal(bias[:, :, i:stop, :-1], bias[:, :, i + 1 : stop + 1, 1:]):
            return DenseTerm(bias, masked_from(bias))
    # column 0, bottom up, has the distances -(n_q-1) .. 0; row 0 has the distances 1 .. n_k-1
    by_distance = torch.cat([bias[:, :, :, 0].flip(-1), bias[:, :, 0, 1:]], dim=-1)
    return RelativeBias(by_distance.contiguous(), n_q, masked_from(by_distance))


def masked_from(values: Tensor) -> float | None:
    """The number at or below which cells of an additive tensor, (..., r, c), are masked.

    Masked cells are far from all others: a gap of two octaves without any number lies between, so
    that the lower ones are four times the upper. Hence -1e9 masks beside 0 and beside ALiBi's
    0 .. -1,700; -1,700 does not, because ALiBi has numbers in every octave on the way there, and
    neither does anything above -64.

    Returns:
        None if no cell is masked; -inf if only cells of -inf are.
    """
    lowest = float(values.min()) if values.numel() else 0.0
    if lowest > -(2.0**_WEAKEST_EXPONENT):
        return None
    octaves: set[int] = set()  # e where some cell is in -2**e < x <= -2**(e - 1)
    step = max(1, _CELLS // max(1, values.numel() // values.shape[-2]))
    for i in range(0, values.shape[-2], step):
        part = values[..., i : i + step, :]
        large = part[(part <= -(2.0 ** (_WEAKEST_EXPONENT - 2))) & (part > -torch.inf)]
        large = large.float() if large.dtype != torch.float64 else large
        counts = (torch.frexp(large).exponent.long() + 16).bincount()
        octaves.update((counts.nonzero().flatten() - 16).tolist())
    last = max((e for e in octaves if e <= _WEAKEST_EXPONENT), default=-torch.inf)
    for octave in sorted(e for e in octaves if e > _WEAKEST_EXPONENT):
        if octave - last > 2:
            return float(-(2.0 ** (octave - 1)))
        last = octave
    return -torch.inf if lowest == -torch.inf else None


def cached_per_tensor(make: Callable[[Tensor], Term | None]) -> Callable[[Tensor], Term | None]:
    """Wraps ``make`` with a cache keyed by tensor: layers share masks, each is examined once.

    The cache holds the tensors too, so that their addresses can't be reused meanwhile. A tensor
    made under ``torch.inference_mode()`` has no version counter: it is compared with a copy.
    """
    cache: dict[tuple[object, ...], tuple[Tensor, Tensor | None, Term | None]] = {}

    def cached(tensor: Tensor) -> Term | None:
        has_version = not tensor.is_inference()
        version = tensor._version if has_version else None
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, version)
        _, copy, term = cache.get(key, (None, None, None))
        if key not in cache or (copy is not None and not torch.equal(copy, tensor)):
            copy, term = None if has_version else tensor.clone(), make(tensor)
            cache[key] = (tensor, copy, term)
        return term

    return cached


def padding_term(keys: Tensor, n_q: int) -> Term | None:
    """Flash attention's padding mask, (B, n_k), nonzero where there is text.

    Padding positions neither attend nor are attended to.
    """
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
    """Row i sees the ``window`` keys that end with key i + offset.

    Without ``causal`` it also sees the ``window - 1`` keys after that.
    """
    i = torch.arange(n_q, device=device)[None] + offset
    lo = (i - window + 1).clamp(0, n_k)
    hi = (i + (1 if causal else window)).clamp(0, n_k)
    return IntervalMask(lo, torch.maximum(lo, hi), -torch.inf)


def block_mask_term(mask: Any, n_q: int, n_k: int) -> Term | None:
    """Flex attention's `BlockMask`, evaluated by its own ``mask_mod``.

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

        def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor, start: int = start) -> Tensor:
            return mask.mask_mod(b, h, q + start, k)

        term = mask_term(create_mask(visible, B, H, rows, n_k, device))
        if term is None:
            term = IntervalMask(
                torch.zeros(1, rows, dtype=torch.int64, device=device),
                torch.full((1, rows), n_k, device=device),
                -torch.inf,
            )
        if not isinstance(term, IntervalMask):  # some rows see several separate ranges
            return mask_term(create_mask(mask.mask_mod, B, H, n_q, n_k, device))
        lo.append(term.lo.expand(B, -1))
        hi.append(term.hi.expand(B, -1))
    return IntervalMask(torch.cat(lo, dim=1), torch.cat(hi, dim=1), -torch.inf)


def _one_head(mask: Tensor) -> Tensor:
    """Drops a head dimension that is only expanded."""
    return mask[:, :1] if mask.shape[1] > 1 and mask.stride(1) == 0 else mask


def _intervals(mask: Tensor, fill: float) -> IntervalMask | None:
    """The mask as one range of visible keys per row; None if it is not that for every row and head.

    Args:
        fill: the mask's lowest number. Others may mask as well where that makes no difference: a
            mask that was added twice has both -inf and finfo.min, and in rows with a visible key
            they act the same.
    """
    B, H, n_q, n_k = mask.shape
    if H > 1:
        return None
    lo = torch.empty(B, n_q, dtype=torch.int64, device=mask.device)
    hi = torch.empty_like(lo)
    step = max(1, _CELLS // (n_k * B))
    for i in range(0, n_q, step):
        part = mask[:, 0, i : i + step]  # (B, r, n_k)
        visible = part if part.dtype == torch.bool else part == 0.0
        count = visible.sum(-1, dtype=torch.int64)
        if part.dtype != torch.bool and not bool((visible | (part == fill)).all()):
            same = bool((count > 0).all()) and bool((visible | (part <= HARD_MASK)).all())
            if not same:
                return None
        first = visible.to(torch.uint8).argmax(-1)
        last = n_k - visible.to(torch.uint8).flip(-1).argmax(-1)
        last = torch.where(count == 0, first, last)
        if not torch.equal(last - first, count):
            return None
        lo[:, i : i + step], hi[:, i : i + step] = first, last
    return IntervalMask(lo, hi, fill)
