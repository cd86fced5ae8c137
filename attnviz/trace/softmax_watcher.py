"""Recording attention that does not go through transformers' attention interface.

Some modules compute attention in their own code. A torch function mode, which acts in the running
thread alone, sees their operations: a call of PyTorch's fused attention has all inputs as
arguments, and a softmax that is multiplied with values is a layer's weights, if the product becomes
the module's output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.trace.einsum import as_matmul, summed_axes
from attnviz.trace.fidelity import Checks, Rounding, all_rows, compare
from attnviz.trace.fused_attention import one_query_for_all, read_fused, windows_first
from attnviz.trace.product_tracker import (
    ADD,
    CAST,
    CONSUME,
    JOIN,
    RESHAPE,
    Product,
    ProductTracker,
    by_head,
)
from attnviz.trace.recorder import Recorder
from attnviz.trace.records import WeightsRecord
from attnviz.trace.torch_multihead import read_multihead

# Operations after which a softmax is still the layer's weights, but no longer a plain softmax.
_CHANGE = {
    torch.Tensor.masked_fill, torch.Tensor.masked_fill_, torch.masked_fill, torch.where,
    torch.Tensor.mul, torch.Tensor.mul_, torch.Tensor.__mul__, torch.mul, torch.Tensor.__getitem__,
    torch.nan_to_num, torch.Tensor.nan_to_num, torch.Tensor.add, torch.Tensor.__add__,
}  # fmt: skip
_PRODUCT = {
    torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm,
    torch.einsum,
}  # fmt: skip
_SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}
_MOVE = CAST | RESHAPE | JOIN | ADD | _CHANGE
_SLICE = {torch.Tensor.__getitem__}
_DROPOUT = (F.dropout, torch.dropout)

# The most softmaxes that wait for their values; older ones were not attention (or never used).
_MAX_PENDING = 4
# Modules that are part of the attention around them.
_PARTS = (nn.Softmax, nn.Dropout, nn.Identity)

_DENSE = "this module computes its attention itself, outside transformers' interface"
_NOT_OUTPUT = "the product of its softmax is not what the module returns"


class _Pending:
    """The result of a softmax that was not multiplied with values yet."""

    def __init__(self, weights: Tensor, scores: Tensor | None, module: nn.Module, run: int) -> None:
        self.weights = weights
        self.scores = scores
        self.module = module
        self.run = run
        self.is_part = False  # some of the keys were sliced off


class SoftmaxWatcher(TorchFunctionMode):
    """Adds the attention found in torch's operations to a recorder.

    Args:
        recorder: receives the calls. batch: items of the input, to tell them from windows.
    """

    def __init__(self, recorder: Recorder, batch: int) -> None:
        super().__init__()
        self._recorder = recorder
        self._batch = max(1, batch)
        self._pending: list[_Pending] = []
        self._tracker = ProductTracker()
        self._unfinished: list[tuple[Product | None, nn.Module, int]] = []  # not used as output yet
        self._runs: list[FrameType] = []  # calls of modules in the running block
        recorder.before_finish = self._end_block
        self._handlers: dict[Any, Callable[..., Any]] = {
            **dict.fromkeys(_MOVE, self._step),
            **dict.fromkeys(CONSUME, self._consume),
            **dict.fromkeys(_PRODUCT, self._product),
            **dict.fromkeys(_SOFTMAX, self._softmax),
            F.scaled_dot_product_attention: self._fused,
            F.multi_head_attention_forward: self._torch_module,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        handler = self._handlers.get(func)
        # a forward may trace another model, whose operations are not for this recorder
        if handler is None or self._recorder.inside or not self._recorder.is_active():
            return func(*args, **(kwargs or {}))
        return handler(func, args, kwargs or {})

    def _end_block(self) -> None:
        """A block has ended: products that it didn't use as output are not a layer's."""
        for module, run in dict.fromkeys((module, run) for _, module, run in self._unfinished):
            self._recorder.add(module, None, None, "refused", _NOT_OUTPUT, run=run)
        self._unfinished.clear()
        self._runs.clear()
        self._pending.clear()
        self._tracker.clear()

    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        scores = args[0] if args else kwargs["input"]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if dim in (-1, result.ndim - 1) and result.ndim >= 3:
            module = _caller()
            if module is not None:
                pending = _Pending(result, scores, module, self._run(module))
                self._pending = [*self._pending[1 - _MAX_PENDING :], pending]
        return result

    def _step(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if self._pending and isinstance(result, Tensor):
            for operand in args[:3]:
                found = self._find(operand)
                if found is not None and func not in JOIN:
                    if func in _CHANGE or (func in _DROPOUT and not _same_memory(operand, result)):
                        found.scores = None
                    found.is_part |= result.shape[-1] < operand.shape[-1] and func in _SLICE
                    found.weights = result
                    break
        if self._tracker:
            self._tracker.step(func, args, kwargs, result)
        return result

    def _consume(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._tracker:
            at = 1 if func is torch.addmm else 0
            operand = args[at] if len(args) > at else kwargs.get("input")
            channels = {F.conv1d: -2, F.conv2d: -3}.get(func, -1)
            self._tracker.consume(operand, (channels,))
        return func(*args, **kwargs)

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if not self._pending and not self._tracker:
            return result
        equation = args[0] if func is torch.einsum else None
        operands = args[1:] if func is torch.einsum else args
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = tuple(operands[0])
        if len(operands) != 2 or not all(isinstance(t, Tensor) for t in operands):
            return result
        left, right = operands
        found = self._find(left)
        if found is not None:
            self._pending.remove(found)
            self._multiplied(found, equation, right, result)
        elif isinstance(right, nn.Parameter):
            axes = (-1,) if equation is None else summed_axes(equation, left, right)
            self._tracker.consume(left, axes)
        return result

    def _find(self, operand: Any) -> _Pending | None:
        if not isinstance(operand, Tensor):
            return None
        return next((p for p in reversed(self._pending) if p.weights is operand), None)

    def _run(self, module: nn.Module) -> int:
        """The index, in this block, of the module call whose code is running."""
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_name == "_call_impl" and frame.f_locals.get("self") is module:
                break
            frame = frame.f_back  # type: ignore[assignment]
        if frame not in self._runs:
            self._runs.append(frame)
        return self._runs.index(frame)

    def _track(
        self, module: nn.Module, run: int, product: Product, tensor: Tensor,
        order: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        """Tracks a product until it is used as output."""
        self._unfinished.append((product, module, run))
        self._tracker.track(product, tensor, order)

    def _finish(self, product: Product) -> None:
        self._unfinished = [entry for entry in self._unfinished if entry[0] is not product]

    def _multiplied(
        self, pending: _Pending, equation: str | None, values: Tensor, result: Tensor
    ) -> None:
        """Weights were multiplied with values: tracks the product."""
        weights, scores, order = pending.weights, pending.scores, None
        if scores is not None:
            scores = scores.reshape(weights.shape) if scores.numel() == weights.numel() else None
        if equation is not None:
            axes = as_matmul(equation, weights, values, result)
            if axes is None:  # not a batched matrix product
                self._unfinished.append((None, pending.module, pending.run))
                return
            weights, values = weights.permute(axes[0]), values.permute(axes[1])
            scores = None if scores is None else scores.permute(axes[0])
            order = axes[2]
        lead, n_q, n_k = weights.shape[:-2], *weights.shape[-2:]
        d = values.shape[-1]
        if values.shape[-2] != n_k or result.numel() != lead.numel() * n_q * d:
            return
        detached = [None if t is None else t.detach() for t in (weights, scores)]
        values = values.expand(*lead, n_k, d).detach()

        def on_output(groups: Tensor, own: Tensor, spacing: float) -> None:
            if pending.is_part and spacing:  # the rest of the output was added to it
                return
            self._finish(product)
            w, s = (None if t is None else by_head(t, groups) for t in detached)
            assert w is not None
            layer = WeightsRecord(w, s, None, None, by_head(values, groups))
            own = by_head(own, groups).transpose(1, 2)  # (items, n_q, H, d_v)
            self._add_dense(pending, layer, own, spacing)

        product = Product((*lead, n_q, d), on_output)
        self._track(pending.module, pending.run, product, result, order)

    def _add_dense(
        self, pending: _Pending, layer: WeightsRecord, own: Tensor, spacing: float
    ) -> None:
        """Adds a layer whose output, (items, n_q, H, d_v), has numbers ``spacing`` apart."""
        items, _, n_q, n_k = layer.shape
        rounding = Rounding.of(own.dtype, eager=True)
        rounding = replace(rounding, absolute=max(rounding.absolute, spacing))
        check = compare(layer, own, all_rows(layer), rounding)
        windows = 1 if n_q == n_k else max(1, items // self._batch)
        checks = Checks(check, None, rounding)
        self._recorder.add(
            pending.module, layer, own, "dense", _DENSE, windows, checks, run=pending.run
        )

    def _fused(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        module = _caller()
        if module is None or one_query_for_all(given["query"]):
            return output
        # where heads and items share an axis, the use of the output tells them apart
        if output.ndim == 3:

            def on_output(groups: Tensor, _: Tensor, __: float) -> None:
                self._finish(product)
                mask = given.get("attn_mask")
                if isinstance(mask, Tensor) and mask.ndim == 3 and len(mask) > 1:
                    mask = by_head(mask, groups)
                q, k, v, own = (
                    by_head(t.detach(), groups)
                    for t in (*(given[name] for name in names[:3]), output)
                )
                self._add_fused(func, {**given, "attn_mask": mask}, module, q, k, v, own)

            product = Product(tuple(output.shape), on_output)
            self._track(module, 0, product, output)
            return output
        windows = output.shape[2] if output.ndim == 5 else 1
        q, k, v, own = (windows_first(t) for t in (*(given[name] for name in names[:3]), output))
        if q is None or k is None or v is None or own is None:
            self._recorder.add(
                module, None, None, "refused", "its Q, K and V have an unsupported layout"
            )
            return output
        mask = given.get("attn_mask")
        if isinstance(mask, Tensor) and windows > 1:
            given["attn_mask"] = mask[:, 0]
        self._add_fused(func, given, module, q, k, v, own, windows)
        return output

    def _add_fused(
        self, func: Any, given: dict[str, Any], module: nn.Module,
        q: Tensor, k: Tensor, v: Tensor, own: Tensor, windows: int = 1,
    ) -> None:  # fmt: skip
        """Adds a call of PyTorch's fused attention with (items, H, rows, d)."""
        own = own.transpose(1, 2)  # (items, n_q, H, d_v)
        layer, reason, checks = read_fused(func, given, q, k, v, own)
        if layer is None:
            self._recorder.add(module, None, None, "refused", reason)
        else:
            self._recorder.add(module, layer, own, "exact", windows=windows, checks=checks)

    def _torch_module(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        module = _caller()
        if module is not None:
            layer, own, source, reason, checks = read_multihead(func, args, kwargs, result[0])
            self._recorder.add(module, layer, own, source, reason, checks=checks)
        return result


def _same_memory(a: Any, b: Tensor) -> bool:
    """Whether an operation returned its operand: dropout that is off."""
    return isinstance(a, Tensor) and a.data_ptr() == b.data_ptr()


def _caller() -> nn.Module | None:
    """The innermost module whose code is running."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name not in ("__torch_function__", "_call_impl"):
            names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
            for name in ("self", "module"):
                if name in names:
                    owner = frame.f_locals.get(name)
                    if isinstance(owner, nn.Module) and not isinstance(owner, _PARTS):
                        return owner
        frame = frame.f_back  # type: ignore[assignment]
    return None
