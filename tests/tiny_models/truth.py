"""What the eager model says its attention was: the truth that traces are compared with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from tests.tiny_models import TinyType, build

# Modules that are attention by name; MGP-STR's "A3" pools tokens with learned queries;
# Inkling's "attention residual" weighs earlier layers, not positions.
_ATTENTION = re.compile(r"att(entio)?n(?!Residual)|A3Module", re.IGNORECASE)

_RETURNED = {
    "encoder_attentions": "encoder",
    "decoder_attentions": "decoder",
    "cross_attentions": "cross",
    "attentions": "",
}


@dataclass(frozen=True)
class Truth:
    """What the eager model says its attention was.

    Attributes:
        returned: its `output_attentions`, by kind ("" if not told), (B, H, n_q, n_k) each.
        softmaxes: every softmax over keys that its attention modules computed, with the module's
            path, (..., n_q, n_k) each.
    """

    returned: dict[str, list[Tensor]]
    softmaxes: list[tuple[str, Tensor]]


def eager_truth(tiny: TinyType) -> Truth:
    """Runs the tiny model on transformers' eager attention and collects its weights."""
    module, inputs = build(tiny, "eager")
    with _Softmaxes() as seen:
        output = run(module, {**inputs, "output_attentions": True})
    returned: dict[str, list[Tensor]] = {}
    for name, kind in _RETURNED.items():
        tensors = [t for t in flat(getattr(output, name, None)) if _is_softmax(t)]
        if tensors:
            returned.setdefault(kind, []).extend(tensors)
    names = {id(part): name for name, part in module.named_modules()}
    return Truth(returned, [(names.get(id(part), ""), w) for part, w in seen.results])


def swayed(tiny: TinyType, path: str, heads: int) -> Tensor:
    """(B, H, n_q, n_k): how far an attention module's output moves when one key's values move by 1.

    Those are its weights, whatever their layout: measured key by key. A module that projects values
    of its own after the text's has them as further keys.
    """
    module, inputs = build(tiny, "eager")
    linear = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
    names = [f"{path}.{name}" for name in ("value", "v", "v_proj")]
    values = next(m for n, m in linear.items() if n in names)
    parent, last = path.rpartition(".")[0], ("o", "output", "dense", "out_proj")
    near = [m for n, m in linear.items() if n.startswith(f"{path}.") and n.endswith(last)]
    near += [m for n, m in linear.items() if n.startswith(f"{parent}.") and n.endswith(last)]
    B, n = inputs["input_ids"].shape
    outputs: list[Tensor] = []
    calls: list[Tensor] = []  # (n, ...): 1 at the key whose values move, one a projection

    def moved(_: nn.Module, __: Any, out: Tensor) -> Tensor:
        axis = 1 if out.shape[0] == B else 0
        keys = torch.zeros(out.shape[axis])
        calls.append(keys)
        before = sum(len(c) for c in calls[:-1])
        if before <= key < before + len(keys):
            keys[key - before] = 1.0
        return out + keys.view((1, -1, 1) if axis == 1 else (-1, 1, 1))

    def taken(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        if args[0].shape[1] == n:
            outputs.append(args[0].clone())

    values.register_forward_hook(moved)
    near[0].register_forward_pre_hook(taken)
    key = -1
    run(module, inputs)
    n_k = sum(len(c) for c in calls)
    for key in range(n_k):  # noqa: B007 - `moved` reads it
        calls.clear()
        run(module, inputs)
    columns = [(out - outputs[0]).unflatten(-1, (heads, -1)).mean(-1) for out in outputs[1:]]
    return torch.stack(columns, dim=-1).transpose(1, 2)  # (B, n_q, H, n_k) to (B, H, n_q, n_k)


def eager_weights(tiny: TinyType) -> dict[str, list[Tensor]]:
    """The weights that the eager model returns: kind ("" if not told) to (B, H, n_q, n_k)."""
    return eager_truth(tiny).returned


def run(module: PreTrainedModel, inputs: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        return module(**inputs)


def flat(value: Any) -> Iterator[Tensor]:
    """The tensors in a model's output, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from flat(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from flat(part)


def _is_softmax(weights: Tensor) -> bool:
    """Whether rows are shares of one; some types return linear attention under the same name."""
    return bool((weights >= 0).all() and (weights.sum(-1) <= 1 + 1e-4).all())


def _fused_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """(..., n_q, n_k): the weights inside a call of PyTorch's fused attention."""
    group = query.shape[-3] // key.shape[-3] if enable_gqa else 1
    key = key.repeat_interleave(group, dim=-3) if group > 1 else key
    scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
    if attn_mask is not None:
        allowed = attn_mask if attn_mask.dtype == torch.bool else None
        scores = scores + attn_mask if allowed is None else scores.masked_fill(~allowed, -torch.inf)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return torch.softmax(scores, dim=-1)


class _Softmaxes(TorchFunctionMode):
    """Keeps the softmaxes that are computed inside of modules that are attention by name."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[nn.Module, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            kwargs = {**kwargs, "need_weights": True, "average_attn_weights": False}
        result = func(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            self._keep(result[1])
        elif func is F.scaled_dot_product_attention:
            self._keep(_fused_weights(*args, **kwargs))
        elif func in (F.softmax, torch.softmax, Tensor.softmax):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if result.dim() >= 3 and dim in (-1, result.dim() - 1):
                self._keep(result)
        return result

    def _keep(self, weights: Tensor) -> None:
        module = _running()
        if module is not None and _ATTENTION.search(type(module).__name__):
            self.results.append((module, weights))


def _running() -> nn.Module | None:
    """The innermost module whose code is running, apart from a softmax itself."""
    frame = sys._getframe(3)
    while frame is not None:
        for name in ("self", "module"):
            caller = frame.f_locals.get(name)
            if isinstance(caller, nn.Module) and not isinstance(caller, nn.Softmax):
                return caller
        frame = frame.f_back  # type: ignore[assignment]
    return None
