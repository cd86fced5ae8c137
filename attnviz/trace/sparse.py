"""Reading attention that no operation shows as a whole: sliding, blocked or hashed layouts.

What attention hands on is linear in its values. So a module that runs again with values that are 1
in one channel at one key, and 0 everywhere else, answers with its weights on that key; d_head keys
are asked at a time, in as many channels. The layout need not be known. What was read is believed if
it is a softmax's (no weight below 0, no row above 1) and gives what the module makes of random
values, and of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.trace.compute import WeightsRecord
from attnviz.trace.fidelity import Checks, Rounding, all_rows, compare
from attnviz.trace.recorder import Call

# Keys up to which a module is asked: it runs once for each d_head of them.
MOST_KEYS = 1024

_VALUES = ("value", "v_proj", "v", "value_global")
_OUTPUTS = ("o", "o_proj", "out_proj", "output", "dense")
_HEADS = ("num_heads", "n_heads", "num_attention_heads")
_REASON = "its layout is sparse: its weights are what it makes of one-hot values"


class _Unreadable(Exception):
    """The module cannot be read in this way; says why, where that is worth saying."""


class _ProjectionReached(Exception):
    """The output projection was reached."""


def read(call: Call, hidden: Any, cached: bool, again: Callable[[], Any], gave: Any) -> Call:
    """A refused call as a layer, if its module can be read; else the call, perhaps with a reason.

    Args:
        hidden: (B, n, d_model) what entered the block around the module; cached: whether a cache
            did, which would grow. again: runs the block again. gave: what it gave.
    """
    if not isinstance(hidden, Tensor) or hidden.ndim != 3 or call.module.training or cached:
        return call
    try:
        return _Reading(call.module, again, *hidden.shape[:2]).read(call, gave)
    except _Unreadable as why:
        return replace(call, reason=f"{call.reason}; {why}") if str(why) else call


class _Reading:
    """One module that is run again, with values of ours."""

    def __init__(self, module: nn.Module, run: Callable[[], Any], batch: int, n: int) -> None:
        linear = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
        inside = [m.weight for n, m in linear.items() if n.rpartition(".")[2] not in _OUTPUTS]
        self._inside = {id(weight) for weight in inside}
        self._sources = {id(linear[name].weight) for name in _VALUES if name in linear}
        heads = [H for H in (getattr(module, name, None) for name in _HEADS) if isinstance(H, int)]
        if not self._sources or not heads:
            raise _Unreadable
        self._H, self._batch, self._n, self._run = heads[0], batch, n, run

    def read(self, call: Call, gave: Any) -> Call:
        """The call as a layer over the block's n positions."""
        n = self._n
        if n > MOST_KEYS:
            raise _Unreadable(f"sparse layouts are read up to {MOST_KEYS} keys, and it has {n}")
        own = self._probe(None)
        if not _alike(own.gave, gave):
            raise _Unreadable("run again, its block gives something else")
        if not own.values or own.taken is None:
            raise _Unreadable
        values = [self._by_head(t) for t in own.values]  # (B, H, n or others, d) each
        # further keys may be the module's own; global tokens have values of another projection
        lengths = [n, *(t.shape[2] for t in values[1:] if t.shape[2] != n)]
        n_k, d = sum(lengths), values[0].shape[3]
        if values[0].shape[2] != n or self._by_head(own.taken).shape != values[0].shape:
            raise _Unreadable("its positions are not its block's")
        sums = self._ask(values[0].new_ones(self._H, n_k, d), lengths)  # before many are asked
        if not (sums.min() >= -1e-3 and sums.max() <= 1 + 1e-2):
            raise _Unreadable("what it makes of values of 1 is no softmax's sum")
        weights = values[0].new_empty(self._batch, self._H, n, n_k)
        for first in range(0, n_k, d):
            keys = torch.arange(first, min(first + d, n_k), device=weights.device)
            one_hot = weights.new_zeros(n_k, d)
            one_hot[keys, keys - first] = 1.0
            answer = self._ask(one_hot.expand(self._H, -1, -1), lengths)
            weights[..., keys] = answer[..., : len(keys)]
        if not (weights.min() >= -1e-6 and weights.sum(-1).max() <= 1 + 1e-3):
            raise _Unreadable("what it makes of one-hot values is no softmax's weights")
        if not weights.any():  # some need a kernel that is not there, and give nothing
            raise _Unreadable("it makes nothing of its values")
        generator = torch.Generator().manual_seed(n_k)
        random = torch.randn(self._H, n_k, d, generator=generator).to(weights)
        proof = WeightsRecord(weights, v=random.expand(self._batch, -1, -1, -1))
        rounding = Rounding.of(weights.dtype, explicit=True)
        answer = self._ask(random, lengths).transpose(1, 2)  # (B, n, H, d)
        proven = compare(proof, answer, all_rows(proof), rounding)
        if not proven.passed:
            raise _Unreadable(f"it differs from its one-hot answers by {proven.error:.1e}")
        told = [t for i, t in enumerate(values) if i == 0 or t.shape[2] != n]
        layer = WeightsRecord(weights, v=torch.cat(told, dim=2))
        mine = self._by_head(own.taken).transpose(1, 2)
        same = compare(layer, mine, all_rows(layer), rounding)
        if not same.passed:  # rows of global tokens weigh values of their own
            layer, mine, same = replace(layer, v=None), answer, proven
        checks = Checks(same, proven, rounding)
        return replace(
            call, layer=layer, own=mine, source="dense", reason=_REASON, windows=1, checks=checks
        )

    def _ask(self, values: Tensor, lengths: list[int]) -> Tensor:
        """(B, H, n, d): what the module makes of values (H, n_k, d), the same for every item."""
        parts = dict(zip(lengths, values.split(lengths, dim=1), strict=True))

        def fill(t: Tensor) -> Tensor:  # (B, n, H d) or (n, B, H d)
            n = self._by_head(t).shape[2]
            merged = parts[n].transpose(0, 1).flatten(1)  # (n, H d)
            return merged.unsqueeze(self._batch_axis(t)).expand_as(t).to(t.dtype).contiguous()

        taken = self._probe(fill).taken
        assert taken is not None
        return self._by_head(taken)

    def _probe(self, fill: Callable[[Tensor], Tensor] | None) -> _Probe:
        probe = _Probe(self._sources, self._inside, self._n, fill)
        with probe, suppress(_ProjectionReached):
            probe.gave = self._run()
        return probe

    def _batch_axis(self, t: Tensor) -> int:
        if t.ndim != 3 or self._batch not in t.shape[:2] or t.shape[2] % self._H:
            raise _Unreadable("its values are laid out oddly")
        return 0 if t.shape[0] == self._batch else 1

    def _by_head(self, t: Tensor) -> Tensor:
        """(B, H, n, d), of a projection's (B, n, H d) or (n, B, H d)."""
        t = t.movedim(self._batch_axis(t), 0)
        return t.unflatten(-1, (self._H, -1)).transpose(1, 2)


class _Probe(TorchFunctionMode):
    """Puts values in place of a module's own, and sees what its output projection is given."""

    def __init__(
        self,
        sources: set[int],
        inside: set[int],
        n: int,
        fill: Callable[[Tensor], Tensor] | None,
    ) -> None:
        super().__init__()
        self._n = n
        self._sources = sources
        self._inside = inside
        self._fill = fill
        self.values: list[Tensor] = []
        self.taken: Tensor | None = None
        self.gave: Any = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not F.linear or self.taken is not None:
            return result
        weight = id(args[1])
        if weight in self._sources:
            self.values.append(result.clone())
            return result if self._fill is None else self._fill(result)
        if self.values and weight not in self._inside and self._n in args[0].shape[:2]:
            self.taken = args[0].clone()
            if self._fill is not None:
                raise _ProjectionReached
        return result


def _alike(a: Any, b: Any) -> bool:
    """Whether a block gave the same twice, but for rounding."""
    a, b = (x[0] if isinstance(x, tuple) else getattr(x, "hidden_states", x) for x in (a, b))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        return False
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
