"""Probing a layer: its own function, with its own Q, K and mask, and random values.

The output of attention is linear in the values. So the function's outputs for random values say
something about its weights and about nothing else: weights that give the same outputs are the
layer's. A short input is probed in one call that differs from the model's only in the values. Of a
long one some rows are probed, in calls that cost little next to the layer's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnviz.trace.dispatch import Dispatch
from attnviz.trace.fidelity import SHORT, sampled_rows

# Cells of one item's maps up to which all rows are probed in one call, whatever the mask.
_SHORT_CELLS = 1 << 18

# What a function may raise if it can't be called for some of the rows alone.
_CALL_ERRORS = (
    RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError,
)  # fmt: skip

ProbeRows = tuple[slice, Tensor]  # rows, and (B, r, H, d_v) the function's outputs there


@dataclass(frozen=True)
class ProbeResult:
    """The outputs of a layer's own function for random values.

    Attributes:
        values: (B, H_kv, n_k, d_v). outputs: in some rows, or in all.
    """

    values: Tensor
    outputs: tuple[ProbeRows, ...]

    def concat(self, other: ProbeResult) -> ProbeResult:
        """The result for a layer whose values are those of both, side by side."""
        return ProbeResult(
            torch.cat([self.values, other.values], dim=-1),
            tuple(
                (rows, torch.cat([a, b], dim=-1))
                for (rows, a), (_, b) in zip(self.outputs, other.outputs, strict=True)
            ),
        )


def probe_signs(value: Tensor) -> Tensor:
    """(n_k, d_v) random +1 and -1, one byte each; always the same for the same shape.

    All heads share them, since heads differ in their weights: values for each head would take as
    much memory as the layer's own, for as long as the model runs.
    """
    shape = value.shape[-2:]
    generator = torch.Generator().manual_seed(sum(shape))
    bits = torch.randint(0, 2, shape, generator=generator, dtype=torch.int8)
    return (2 * bits - 1).to(value.device)


def probe_values(value: Tensor, signs: Tensor | None = None) -> Tensor:
    """Random values of +1 and -1 in the shape of ``value``, the same for every item and head."""
    signs = probe_signs(value) if signs is None else signs
    return signs.to(value.dtype).expand_as(value).contiguous()


def run_probe(call: Dispatch, values: Tensor, all_rows: bool = False) -> ProbeResult | None:
    """The outputs of a layer's own function for these values; None if it can't be run again.

    Args:
        all_rows: probe every row, whatever that costs; otherwise those of `fidelity.sampled_rows`,
            or about as many.
    """
    if call.is_random or call.options.get("cache") is not None:  # a paged cache would grow
        return None
    for attempt in [_all] if all_rows or _is_short(call) else [_sampled, _all]:
        try:
            return ProbeResult(values, tuple(attempt(call, values)))
        except _CALL_ERRORS:
            continue
    return None


def _is_short(call: Dispatch) -> bool:
    _, H, n_q, _ = call.query.shape
    return n_q <= SHORT and H * n_q * call.key.shape[2] <= _SHORT_CELLS


def _all(call: Dispatch, values: Tensor) -> Iterator[ProbeRows]:
    n_q, n_k = call.query.shape[2], call.key.shape[2]
    yield slice(0, n_q), call.run_with_values(values, slice(0, n_k), slice(0, n_q))


def _sampled(call: Dispatch, values: Tensor) -> Iterator[ProbeRows]:
    n_q, n_k = call.query.shape[2], call.key.shape[2]
    blocks = sampled_rows(n_q)
    if call.mask is None and call.is_causal and n_q == n_k:
        # the first rows under the function's own triangle; later rows alone, since a single row
        # sees all keys it is given
        first = slice(0, SHORT)
        yield first, call.run_with_values(values, first, first)
        for end in (block.stop for block in blocks[1:]):
            row = slice(end - 1, end)
            yield row, call.run_with_values(values, slice(0, end), row)
    elif _has_rows(call.mask) and not call.is_causal:
        index = torch.cat([torch.arange(b.start, b.stop) for b in blocks])
        out = call.run_with_values(values, slice(0, n_k), index.to(call.query.device))
        yield from zip(blocks, out.split([b.stop - b.start for b in blocks], dim=1), strict=True)
    else:
        yield from _all(call, values)


def _has_rows(mask: Any) -> bool:
    """Whether a mask has a row for each query, so that some of the rows can be taken."""
    return mask is None or (isinstance(mask, Tensor) and mask.ndim == 4)
