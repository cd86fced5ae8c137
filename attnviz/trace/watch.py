"""Seeing attention that does not go through transformers' attention interface.

Some modules compute attention in their own code. A torch function mode, which acts in the running
thread alone, looks at the operations as they happen: a call of PyTorch's fused attention tells all
that enters it, and a softmax whose result is multiplied with values is a layer's weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnviz.trace.compute import Pattern, Products
from attnviz.trace.fidelity import (
    UNCHECKED,
    Checks,
    Rounding,
    compare,
    compare_rows,
    every_row,
    sample,
)
from attnviz.trace.probe import values_like
from attnviz.trace.recorder import Recorder
from attnviz.trace.rules import ScoreRules, Term, causal, mask_term

# Operations that hand on the same numbers, perhaps in another shape or type.
_SAME = {
    F.dropout, torch.dropout, torch.Tensor.to, torch.Tensor.type, torch.Tensor.type_as,
    torch.Tensor.float, torch.Tensor.half, torch.Tensor.contiguous, torch.Tensor.view,
    torch.Tensor.reshape, torch.Tensor.transpose, torch.Tensor.permute, torch.Tensor.unsqueeze,
    torch.Tensor.squeeze, torch.Tensor.view_as, torch.transpose, torch.permute, torch.reshape,
    torch.Tensor.clone, torch.Tensor.flatten, torch.Tensor.unflatten, torch.squeeze,
    torch.unsqueeze, torch.flatten,
}  # fmt: skip
# Operations after which they are still the layer's weights, but no longer a plain softmax.
_CHANGED = {
    torch.Tensor.masked_fill, torch.Tensor.masked_fill_, torch.masked_fill, torch.where,
    torch.Tensor.mul, torch.Tensor.mul_, torch.Tensor.__mul__, torch.mul, torch.Tensor.__getitem__,
    torch.nan_to_num, torch.Tensor.nan_to_num, torch.Tensor.add, torch.Tensor.__add__,
}  # fmt: skip
_PRODUCT = {
    torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm,
    torch.einsum,
}  # fmt: skip
_SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}

# Softmaxes whose results are still waited for; older ones were no attention (or never used).
_PENDING = 4
# Modules that are a step of the attention around them.
_STEPS = (nn.Softmax, nn.Dropout, nn.Identity)


class _Pending:
    """A softmax result on its way to the values."""

    def __init__(self, weights: Tensor, scores: Tensor | None, module: nn.Module | None) -> None:
        self.weights = weights
        self.scores = scores
        self.module = module


class Watch(TorchFunctionMode):
    """Adds the attention that it sees in torch's operations to a recorder.

    Args:
        recorder: gets the calls. batch: items of the input, to tell them from heads.
    """

    def __init__(self, recorder: Recorder, batch: int) -> None:
        super().__init__()
        self._recorder = recorder
        self._batch = max(1, batch)
        self._pending: list[_Pending] = []
        self._handlers: dict[Any, Callable[..., Any]] = {
            **dict.fromkeys(_SAME | _CHANGED, self._hand_on),
            **dict.fromkeys(_PRODUCT, self._product),
            **dict.fromkeys(_SOFTMAX, self._softmax),
            F.scaled_dot_product_attention: self._fused,
            F.multi_head_attention_forward: self._torch_module,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        handler = None if self._recorder.inside else self._handlers.get(func)
        if handler is None:
            return func(*args, **(kwargs or {}))
        return handler(func, args, kwargs or {})

    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        scores = args[0] if args else kwargs["input"]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if dim in (-1, result.ndim - 1) and result.ndim >= 3:
            module = _caller()
            if module is not None:
                self._pending = [*self._pending[1 - _PENDING :], _Pending(result, scores, module)]
        return result

    def _hand_on(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if self._pending and isinstance(result, Tensor):
            for operand in args[:3]:
                found = self._find(operand)
                if found is not None:
                    if func in _CHANGED:
                        found.scores = None
                    found.weights = result
                    break
        return result

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if self._pending:
            operands = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args
            left, right = operands[-2:] if len(operands) >= 2 else (None, None)
            found = self._find(left)
            if found is not None and isinstance(right, Tensor):
                self._pending.remove(found)
                self._note(found, right if func is not torch.einsum else None, result)
        return result

    def _find(self, operand: Any) -> _Pending | None:
        if not isinstance(operand, Tensor):
            return None
        return next((p for p in reversed(self._pending) if p.weights is operand), None)

    def _note(self, seen: _Pending, values: Tensor | None, output: Tensor) -> None:
        assert seen.module is not None
        windows = seen.weights.shape[2] if seen.weights.ndim == 5 else 1
        weights = self._by_head(seen.weights)
        if weights is None:
            reason = f"its weights are laid out in blocks of shape {tuple(seen.weights.shape)}"
            self._recorder.add(seen.module, None, None, "refused", reason)
            return
        scores = None
        if seen.scores is not None and seen.scores.numel() == weights.numel():
            scores = self._by_head(seen.scores.reshape(seen.weights.shape))
        v = None if values is None else self._by_head(values)
        if v is not None and v.shape[2] != weights.shape[3]:
            v = None
        own = None if v is None else self._by_head(output)
        own = None if own is None else own.transpose(1, 2)  # (B, n_q, H, d_v)
        reason = "this module computes its attention itself, outside transformers' interface"
        layer = Pattern(weights, scores, None, None, v)
        checks = UNCHECKED
        if own is not None:
            rounding = Rounding.of(own.dtype, explicit=True)
            checks = Checks(compare(layer, own, every_row(layer), rounding), None, rounding)
        self._recorder.add(seen.module, layer, own, "dense", reason, windows, checks)

    def _by_head(self, t: Tensor) -> Tensor | None:
        """(B, H, rows, columns), or None if the tensor is no such thing; windows become items."""
        if t.ndim == 5:  # (B, H, windows, rows, columns)
            t = t.transpose(1, 2).flatten(0, 1)
        elif t.ndim == 3 and t.shape[0] % self._batch == 0:
            t = t.reshape(self._batch, -1, *t.shape[1:])
        return t.detach() if t.ndim == 4 else None

    def _fused(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        module = _caller()
        if module is None or _one_query_for_all(given["query"]):
            return output
        q, k, v = (self._by_head(given[name]) for name in names[:3])
        own = self._by_head(output)
        windows = output.shape[2] if output.ndim == 5 else 1
        if q is None or k is None or v is None or own is None:
            self._recorder.add(module, None, None, "refused", "its Q, K and V are laid out oddly")
            return output
        terms: list[Term | None] = []
        mask = given.get("attn_mask")
        if isinstance(mask, Tensor):
            terms.append(mask_term(mask[(None,) * (4 - mask.ndim)] if windows == 1 else mask[:, 0]))
        if given.get("is_causal"):
            terms.append(causal(q.shape[2], 0, q.device))
        scale = given.get("scale")
        rules = ScoreRules(
            float(scale) if scale is not None else q.shape[-1] ** -0.5,
            terms=tuple(t for t in terms if t is not None),
        )
        layer, own = Products(q, k, v, rules), own.transpose(1, 2)  # (B, n_q, H, d_v)
        rounding = Rounding.of(own.dtype)
        same = compare(layer, own, sample(q.shape[2]), rounding)
        if not same.passed:
            reason = f"recomputing it from Q, K and V differs by {same.error:.1e}"
            self._recorder.add(module, None, None, "refused", reason)
            return output
        values = values_like(given["value"])
        answer = self._by_head(func(**{**given, "value": values}))
        v = self._by_head(values)
        proven = None
        if answer is not None and v is not None and not given.get("dropout_p"):
            whole = [(slice(0, q.shape[2]), answer.transpose(1, 2))]
            proven = compare_rows(replace(layer, v=v), whole, rounding)
        checks = Checks(same, proven, rounding)
        self._recorder.add(module, layer, own, "exact", windows=windows, checks=checks)
        return output

    def _torch_module(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """torch.nn.MultiheadAttention: asked once more for its weights, head by head."""
        result = func(*args, **kwargs)
        asked = {**kwargs, "need_weights": True, "average_attn_weights": False}
        weights = func(*args, **asked)[1]
        module = _caller()
        if module is not None and weights is not None:
            weights = weights if weights.ndim == 4 else weights[None]
            reason = "torch.nn.MultiheadAttention keeps its Q, K and V to itself"
            self._recorder.add(module, Pattern(weights), None, "dense", reason)
        return result


def _one_query_for_all(query: Tensor) -> bool:
    """Whether one learned query serves every position: it weighs layers or features, not keys."""
    return query.ndim == 4 and query.shape[1] > 1 and query.stride(1) == 0


def _caller() -> nn.Module | None:
    """The innermost module whose code is running."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name not in ("__torch_function__", "_call_impl"):
            names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
            for name in ("self", "module"):
                if name in names:
                    held = frame.f_locals.get(name)
                    if isinstance(held, nn.Module) and not isinstance(held, _STEPS):
                        return held
        frame = frame.f_back  # type: ignore[assignment]
    return None
