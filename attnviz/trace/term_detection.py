"""Masks and biases, read: from the tensors that a model hands its attention to short terms.

They are often ``n_q x n_k``. Nearly all of them say something short: "keys lo..hi of each row" or
"a number per distance". Both are recognised here and checked cell by cell, so that what is kept is
O(n) and still exact. Anything else is kept as it came.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attnviz.trace.terms import HARD_MASK, DenseTerm, IntervalMask, RelativeBias, Term

# Cells looked at in one go: bounds the scratch memory.
_CELLS = 1 << 22

# Exponent of the gentlest mask: beside a visible key of like score, a key at -2**6 has a weight of
# 1e-28, and float32 tells nothing below 6e-8 from 0 beside 1.
_GENTLEST = 6


def mask_term(mask: Tensor) -> Term | None:
    """The shortest exact form of an attention mask, (B or 1, H or 1, n_q or 1, n_k).

    A bool mask is True where a key may be seen; a float mask is added to the scores.
    None when it does nothing.
    """
    if mask.dtype == torch.bool:
        if bool(mask.all()):
            return None
        blank = torch.zeros(mask.shape, device=mask.device)
        return _intervals(_one_head(mask), -torch.inf) or relative_or_dense(
            blank.masked_fill_(~mask, -torch.inf)
        )
    low = float(mask.min())
    if low == 0.0 and float(mask.max()) == 0.0:
        return None
    found = _intervals(_one_head(mask), low) if low <= -(2.0**_GENTLEST) else None
    return found or relative_or_dense(mask)


def relative_or_dense(bias: Tensor) -> Term:
    """The shortest exact form of an additive bias, (B or 1, H or 1, n_q or 1, n_k).

    It may mask as well: transformers adds ALiBi to the mask, T5 the mask to its bias.
    """
    n_q, n_k = bias.shape[-2:]
    if n_q < 2 or n_k < 2:
        return DenseTerm(bias, masked_from(bias))
    step = max(1, _CELLS // (n_k * bias.shape[0] * bias.shape[1]))
    for i in range(0, n_q - 1, step):
        stop = min(i + step, n_q - 1)
        if not torch.equal(bias[:, :, i:stop, :-1], bias[:, :, i + 1 : stop + 1, 1:]):
            return DenseTerm(bias, masked_from(bias))
    # column 0 downwards holds the distances -(n_q-1) .. 0, row 0 the distances 1 .. n_k-1
    by_distance = torch.cat([bias[:, :, :, 0].flip(-1), bias[:, :, 0, 1:]], dim=-1)
    return RelativeBias(by_distance.contiguous(), n_q, masked_from(by_distance))


def masked_from(values: Tensor) -> float | None:
    """The number at or below which cells of an additive tensor, (..., r, c), are masked.

    Masked cells lie far from all others: between them is a hole of two octaves, numbers of which
    none is there and the lower ones are four times the upper. So -1e9 masks beside 0 and beside
    ALiBi's 0 .. -1,700; -1,700 does not, as ALiBi has every octave on the way there, and neither
    does anything above -64.

    Returns:
        None if no cell is masked; -inf if only cells of -inf are.
    """
    low = float(values.min()) if values.numel() else 0.0
    if low > -(2.0**_GENTLEST):
        return None
    octaves: set[int] = set()  # e where some cell is in -2**e < x <= -2**(e - 1)
    step = max(1, _CELLS // max(1, values.numel() // values.shape[-2]))
    for i in range(0, values.shape[-2], step):
        part = values[..., i : i + step, :]
        far = part[(part <= -(2.0 ** (_GENTLEST - 2))) & (part > -torch.inf)]
        far = far.float() if far.dtype != torch.float64 else far
        counts = (torch.frexp(far).exponent.long() + 16).bincount()
        octaves.update((counts.nonzero().flatten() - 16).tolist())
    last = max((e for e in octaves if e <= _GENTLEST), default=-torch.inf)
    for octave in sorted(e for e in octaves if e > _GENTLEST):
        if octave - last > 2:
            return float(-(2.0 ** (octave - 1)))
        last = octave
    return -torch.inf if low == -torch.inf else None


def cached_per_tensor(make: Callable[[Tensor], Term | None]) -> Callable[[Tensor], Term | None]:
    """``make`` with its answers kept per tensor: layers share masks, the work is done once.

    The tensors are held too, so that an address cannot be given to another one meanwhile. A tensor
    made under ``torch.inference_mode()`` does not count its changes: it is compared with a copy.
    """
    seen: dict[tuple[object, ...], tuple[Tensor, Tensor | None, Term | None]] = {}

    def cached(tensor: Tensor) -> Term | None:
        counted = not tensor.is_inference()
        version = tensor._version if counted else None
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, version)
        _, copy, term = seen.get(key, (None, None, None))
        if key not in seen or (copy is not None and not torch.equal(copy, tensor)):
            copy, term = None if counted else tensor.clone(), make(tensor)
            seen[key] = (tensor, copy, term)
        return term

    return cached


def _one_head(mask: Tensor) -> Tensor:
    """Drops a head dimension that is only an expansion."""
    return mask[:, :1] if mask.shape[1] > 1 and mask.stride(1) == 0 else mask


def _intervals(mask: Tensor, fill: float) -> IntervalMask | None:
    """The mask as one range of keys a row, if it is that for every head and row.

    Args:
        fill: its lowest number. Others may mask as well where that makes no difference: a mask that
            was added twice has -inf and finfo.min, alike for rows that see some key.
    """
    B, H, n_q, n_k = mask.shape
    if H > 1:
        return None
    lo = torch.empty(B, n_q, dtype=torch.int64, device=mask.device)
    hi = torch.empty_like(lo)
    step = max(1, _CELLS // (n_k * B))
    for i in range(0, n_q, step):
        part = mask[:, 0, i : i + step]  # (B, r, n_k)
        allowed = part if part.dtype == torch.bool else part == 0.0
        count = allowed.sum(-1, dtype=torch.int64)
        if part.dtype != torch.bool and not bool((allowed | (part == fill)).all()):
            alike = bool((count > 0).all()) and bool((allowed | (part <= HARD_MASK)).all())
            if not alike:
                return None
        first = allowed.to(torch.uint8).argmax(-1)
        last = n_k - allowed.to(torch.uint8).flip(-1).argmax(-1)
        last = torch.where(count == 0, first, last)
        if not torch.equal(last - first, count):
            return None
        lo[:, i : i + step], hi[:, i : i + step] = first, last
    return IntervalMask(lo, hi, fill)
