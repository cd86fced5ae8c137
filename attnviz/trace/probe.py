"""Asking a layer itself: its own function, on its own Q, K and mask, with values of ours.

What attention makes of the values is linear in them, so a function that is given random values
tells about its weights and about nothing else: a map that gives the same for them is the layer's.
A short input is asked as a whole, in one call that differs from the model's in its values alone. Of
a long one some rows are asked, in calls that cost little beside the layer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnviz.trace.fidelity import SHORT, sampled_rows

AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]

# Short enough to be asked as a whole whatever its mask looks like: cells of one item's maps.
_CELLS = 1 << 18

# What a function may raise that was not made for some of the rows.
_UNFIT = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError)


@dataclass(frozen=True)
class Dispatch:
    """One call of transformers' attention interface.

    Attributes:
        implementation: its name, "sdpa" for one. function: what the model calls.
        explicit: the layer's own step-by-step function.
        query: (B, H, n_q, d_head). key, value: (B, H_kv, n_k, d).
        mask: a tensor, something of the implementation's own, or None.
        options: what else is passed: scaling, dropout, softcap, sinks, ...
    """

    implementation: str
    function: AttentionFunction
    explicit: AttentionFunction
    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any
    options: dict[str, Any]

    @property
    def is_explicit(self) -> bool:
        """Whether the model runs the step-by-step function."""
        return self.function is self.explicit

    @property
    def is_causal(self) -> bool:
        """Whether, without a mask, the function hides later keys."""
        if self.mask is not None or self.is_explicit or self.query.shape[2] < 2:
            return False
        said = self.options.get("is_causal")
        return bool(getattr(self.module, "is_causal", True) if said is None else said)

    @property
    def draws(self) -> bool:
        """Whether running it again would draw random numbers, or be drawn by them."""
        if not self.module.training:
            return False
        layers = (m for m in self.module.modules() if isinstance(m, nn.Dropout))
        return bool(self.options.get("dropout")) or any(m.p > 0 for m in layers)

    def run(self) -> tuple[Tensor, Tensor | None]:
        """(B, n_q, H, d_v) outputs as the model gets them, and weights where there are any."""
        return self.function(
            self.module, self.query, self.key, self.value, self.mask, **self.options
        )

    def ask(self, values: Tensor, keys: slice, rows: Tensor | slice) -> Tensor:
        """(B, r, H, d_v): the function's outputs for other values, some rows and some keys.

        Args:
            values: (B, H_kv, n_k, d_v). rows: of the queries, and of what has a row for each.
        """
        n_q, n_k = self.query.shape[2], self.key.shape[2]

        def cut(t: Any) -> Any:  # (B or 1, H or 1, n_q or 1, n_k)
            if not isinstance(t, Tensor) or t.ndim != 4:
                return t
            t = t[:, :, rows] if t.shape[2] == n_q else t
            return t[..., keys] if t.shape[3] == n_k else t

        options = {k: cut(t) if k == "position_bias" else t for k, t in self.options.items()}
        return self.function(
            self.module, self.query[:, :, rows], self.key[:, :, keys], values[:, :, keys],
            cut(self.mask), **options,
        )[0]  # fmt: skip


Answer = tuple[slice, Tensor]  # rows, and (B, r, H, d_v) what the function makes of the values


@dataclass(frozen=True)
class ProbeResult:
    """What a layer's own function made of random values.

    Attributes:
        values: (B, H_kv, n_k, d_v). answers: in some rows, or in all.
    """

    values: Tensor
    answers: tuple[Answer, ...]

    def beside(self, other: ProbeResult) -> ProbeResult:
        """Of a layer whose values came in two parts."""
        return ProbeResult(
            torch.cat([self.values, other.values], dim=-1),
            tuple(
                (rows, torch.cat([a, b], dim=-1))
                for (rows, a), (_, b) in zip(self.answers, other.answers, strict=True)
            ),
        )


def signs_like(value: Tensor) -> Tensor:
    """(n_k, d_v) random +1 and -1, a byte each: each time the same for the same shape.

    The same for all heads, which differ in their weights: a value for each head would be as much as
    a layer's own values, held while the whole model runs.
    """
    shape = value.shape[-2:]
    generator = torch.Generator().manual_seed(sum(shape))
    bits = torch.randint(0, 2, shape, generator=generator, dtype=torch.int8)
    return (2 * bits - 1).to(value.device)


def values_like(value: Tensor, signs: Tensor | None = None) -> Tensor:
    """Random values of +1 and -1, the same for every item and head."""
    signs = signs_like(value) if signs is None else signs
    return signs.to(value.dtype).expand_as(value).contiguous()


def ask(call: Dispatch, values: Tensor, all_rows: bool = False) -> ProbeResult | None:
    """What a layer's own function makes of these values; None where it cannot be run again.

    Args:
        all_rows: run on every row, whatever that costs; otherwise on the rows of
            `fidelity.sampled_rows`, or about as many.
    """
    if call.draws or call.options.get("cache") is not None:  # a paged cache would grow
        return None
    for way in [_whole] if all_rows or _is_short(call) else [_some, _whole]:
        try:
            return ProbeResult(values, tuple(way(call, values)))
        except _UNFIT:
            continue
    return None


def _is_short(call: Dispatch) -> bool:
    _, H, n_q, _ = call.query.shape
    return n_q <= SHORT and H * n_q * call.key.shape[2] <= _CELLS


def _whole(call: Dispatch, values: Tensor) -> Iterator[Answer]:
    n_q, n_k = call.query.shape[2], call.key.shape[2]
    yield slice(0, n_q), call.ask(values, slice(0, n_k), slice(0, n_q))


def _some(call: Dispatch, values: Tensor) -> Iterator[Answer]:
    n_q, n_k = call.query.shape[2], call.key.shape[2]
    blocks = sampled_rows(n_q)
    if call.mask is None and call.is_causal and n_q == n_k:
        # the function's own triangle on the first rows; and later rows on their own, which see all
        # the keys that they are given
        first = slice(0, SHORT)
        yield first, call.ask(values, first, first)
        for end in (block.stop for block in blocks[1:]):
            row = slice(end - 1, end)
            yield row, call.ask(values, slice(0, end), row)
    elif _has_rows(call.mask) and not call.is_causal:
        index = torch.cat([torch.arange(b.start, b.stop) for b in blocks])
        out = call.ask(values, slice(0, n_k), index.to(call.query.device))
        yield from zip(blocks, out.split([b.stop - b.start for b in blocks], dim=1), strict=True)
    else:
        yield from _whole(call, values)


def _has_rows(mask: Any) -> bool:
    """Whether a mask says row by row what it hides, so that some of its rows can be taken."""
    return mask is None or (isinstance(mask, Tensor) and mask.ndim == 4)
