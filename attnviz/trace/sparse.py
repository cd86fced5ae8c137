"""Reading attention that no single operation computes: sliding, blocked or hashed layouts.

The output of attention is linear in the values. So a module that runs again with values of 1 in one
channel at one key, and 0 everywhere else, returns its weights on that key; each run covers d_head
keys, one per channel. The layout need not be known. The weights are accepted if a softmax could
have made them (none below 0, no row above 1) and if they reproduce the module's outputs for random
values, and for its own.
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

from attnviz.trace.call import Call
from attnviz.trace.fidelity import Check, Checks, Rounding, all_rows, compare
from attnviz.trace.records import WeightsRecord

# The most keys of a module that is read: it runs once per d_head of them.
MAX_KEYS = 1024

_VALUES = ("value", "v_proj", "v", "value_global")
_OUTPUTS = ("o", "o_proj", "out_proj", "output", "dense")
_HEADS = ("num_heads", "n_heads", "num_attention_heads")
_REASON = "its layout is sparse: its weights are what it makes of one-hot values"


class _Unreadable(Exception):
    """The module can't be read in this way; the message may say why."""


class _ProjectionReached(Exception):
    """The output projection was reached."""


def recover(
    call: Call, hidden: Any, has_cache: bool, run_again: Callable[[], Any], output: Any
) -> Call:
    """A refused call as a layer, if its module can be read; else the call, perhaps with a reason.

    Args:
        hidden: (B, n, d_model) the input of the block around the module. has_cache: whether it was
            given a cache, which would grow. run_again: runs the block again. output: its output.
    """
    if not isinstance(hidden, Tensor) or hidden.ndim != 3 or call.module.training or has_cache:
        return call
    try:
        return _OneHotReader(call.module, run_again, *hidden.shape[:2]).read(call, output)
    except _Unreadable as error:
        return replace(call, reason=f"{call.reason}; {error}") if str(error) else call


class _OneHotReader:
    """Reads the weights of one module by running it again with one-hot values."""

    def __init__(self, module: nn.Module, run: Callable[[], Any], batch: int, n: int) -> None:
        linear = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
        inner = [m.weight for n, m in linear.items() if n.rpartition(".")[2] not in _OUTPUTS]
        self._inner_weights = {id(weight) for weight in inner}
        self._value_weights = {id(linear[name].weight) for name in _VALUES if name in linear}
        heads = [H for H in (getattr(module, name, None) for name in _HEADS) if isinstance(H, int)]
        if not self._value_weights or not heads:
            raise _Unreadable
        self._H, self._batch, self._n, self._run = heads[0], batch, n, run

    def read(self, call: Call, output: Any) -> Call:
        """The call as a layer over the block's n positions.

        Args:
            output: what the block returned in the recorded pass.
        """
        n = self._n
        if n > MAX_KEYS:
            raise _Unreadable(f"sparse layouts are read up to {MAX_KEYS} keys, and it has {n}")
        own = self._run_probe(None)
        if not _same_output(own.output, output):
            raise _Unreadable("running its block again gives a different result")
        if not own.values or own.projected is None:
            raise _Unreadable
        values = [self._by_head(t) for t in own.values]  # (B, H, n or others, d) each
        # more keys may be the module's own; global tokens have values from another projection
        lengths = [n, *(t.shape[2] for t in values[1:] if t.shape[2] != n)]
        own_output = self._by_head(own.projected)  # (B, H, n, d)
        if values[0].shape[2] != n or own_output.shape != values[0].shape:
            raise _Unreadable("its positions differ from its block's")
        weights = self._weights(values[0], lengths)
        random, probed = self._check_random(weights, values[0].shape[3], lengths)
        rounding = Rounding.of(weights.dtype, eager=True)
        distinct = [t for i, t in enumerate(values) if i == 0 or t.shape[2] != n]
        layer = WeightsRecord(weights, v=torch.cat(distinct, dim=2))
        own_output = own_output.transpose(1, 2)  # (B, n, H, d)
        outputs = compare(layer, own_output, all_rows(layer), rounding)
        if not outputs.passed:  # the rows of global tokens weigh values of their own
            layer, own_output, outputs = replace(layer, v=None), random, probed
        return replace(
            call, layer=layer, own=own_output, source="dense", reason=_REASON, windows=1,
            checks=Checks(outputs, probed, rounding),
        )  # fmt: skip

    def _weights(self, values: Tensor, lengths: list[int]) -> Tensor:
        """(B, H, n, n_k): the weights, from the outputs for one-hot values.

        Args:
            values: (B, H, n, d) the module's own.
        """
        n_k, d = sum(lengths), values.shape[3]
        row_sums = self._outputs(values.new_ones(self._H, n_k, d), lengths)  # fails early
        if not (row_sums.min() >= -1e-3 and row_sums.max() <= 1 + 1e-2):
            raise _Unreadable("what it makes of values of 1 is no softmax's sum")
        weights = values.new_empty(self._batch, self._H, self._n, n_k)
        for first in range(0, n_k, d):
            keys = torch.arange(first, min(first + d, n_k), device=weights.device)
            one_hot = weights.new_zeros(n_k, d)
            one_hot[keys, keys - first] = 1.0
            outputs = self._outputs(one_hot.expand(self._H, -1, -1), lengths)
            weights[..., keys] = outputs[..., : len(keys)]
        if not (weights.min() >= -1e-6 and weights.sum(-1).max() <= 1 + 1e-3):
            raise _Unreadable("what it makes of one-hot values is no softmax's weights")
        if not weights.any():  # some need a kernel that is missing, and return nothing
            raise _Unreadable("its output does not depend on its values")
        return weights

    def _check_random(self, weights: Tensor, d: int, lengths: list[int]) -> tuple[Tensor, Check]:
        """(B, n, H, d) the outputs for random values, compared with those of the weights."""
        n_k = weights.shape[3]
        generator = torch.Generator().manual_seed(n_k)
        values = torch.randn(self._H, n_k, d, generator=generator).to(weights)
        layer = WeightsRecord(weights, v=values.expand(self._batch, -1, -1, -1))
        outputs = self._outputs(values, lengths).transpose(1, 2)  # (B, n, H, d)
        check = compare(layer, outputs, all_rows(layer), Rounding.of(weights.dtype, eager=True))
        if not check.passed:
            raise _Unreadable(f"it differs from its one-hot answers by {check.error:.1e}")
        return outputs, check

    def _outputs(self, values: Tensor, lengths: list[int]) -> Tensor:
        """(B, H, n, d): the module's outputs for values (H, n_k, d), the same for every item."""
        parts = dict(zip(lengths, values.split(lengths, dim=1), strict=True))

        def substitute(t: Tensor) -> Tensor:  # (B, n, H d) or (n, B, H d)
            n = self._by_head(t).shape[2]
            merged = parts[n].transpose(0, 1).flatten(1)  # (n, H d)
            return merged.unsqueeze(self._batch_axis(t)).expand_as(t).to(t.dtype).contiguous()

        projected = self._run_probe(substitute).projected
        assert projected is not None
        return self._by_head(projected)

    def _run_probe(self, substitute: Callable[[Tensor], Tensor] | None) -> _ValueProbe:
        probe = _ValueProbe(self._value_weights, self._inner_weights, self._n, substitute)
        with probe, suppress(_ProjectionReached):
            probe.output = self._run()
        return probe

    def _batch_axis(self, t: Tensor) -> int:
        if t.ndim != 3 or self._batch not in t.shape[:2] or t.shape[2] % self._H:
            raise _Unreadable("its values have an unsupported layout")
        return 0 if t.shape[0] == self._batch else 1

    def _by_head(self, t: Tensor) -> Tensor:
        """(B, H, n, d), of a projection's (B, n, H d) or (n, B, H d)."""
        t = t.movedim(self._batch_axis(t), 0)
        return t.unflatten(-1, (self._H, -1)).transpose(1, 2)


class _ValueProbe(TorchFunctionMode):
    """Replaces a module's values, and captures the input of its output projection.

    Args:
        value_weights, inner_weights: ids of the weights of its value projections, and of all
            projections before its output projection. n: its positions.
        substitute: from a value projection's output to what replaces it; None to only watch.

    Attributes:
        values: outputs of the value projections. projected: the input of the output projection.
        output: what the block returned, if it ran to its end.
    """

    def __init__(
        self,
        value_weights: set[int],
        inner_weights: set[int],
        n: int,
        substitute: Callable[[Tensor], Tensor] | None,
    ) -> None:
        super().__init__()
        self._value_weights = value_weights
        self._inner_weights = inner_weights
        self._n = n
        self._substitute = substitute
        self.values: list[Tensor] = []
        self.projected: Tensor | None = None
        self.output: Any = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not F.linear or self.projected is not None:
            return result
        weight = id(args[1])
        if weight in self._value_weights:
            self.values.append(result.clone())
            return result if self._substitute is None else self._substitute(result)
        if self.values and weight not in self._inner_weights and self._n in args[0].shape[:2]:
            self.projected = args[0].clone()
            if self._substitute is not None:
                raise _ProjectionReached
        return result


def _same_output(a: Any, b: Any) -> bool:
    """Whether two outputs of a block are the same, up to rounding."""
    a, b = (x[0] if isinstance(x, tuple) else getattr(x, "hidden_states", x) for x in (a, b))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        return False
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
