"""Reading `torch.nn.MultiheadAttention`, whose Q, K and V are inaccessible."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnviz.trace.call import Source
from attnviz.trace.fidelity import UNCHECKED, Checks, Rounding, all_rows, compare
from attnviz.trace.records import WeightsRecord

_REASON = "torch.nn.MultiheadAttention does not expose its Q, K and V"


def read_multihead(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> tuple[WeightsRecord | None, Tensor | None, Source, str, Checks]:
    """The record, the layer's own output (B, n_q, H, d_v), the source, the reason and the checks.

    The function is called again without dropout, so that it uses no random numbers, and with the
    identity as its output projection, so that it returns its heads' outputs; and once more for its
    weights, if the model's call didn't return them.

    Args:
        function: `torch.nn.functional.multi_head_attention_forward`, and its arguments.
        result: its output, (n_q, B, d_model) or (n_q, d_model).
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    H, has_dropout = given["num_heads"], given["training"] and given["dropout_p"] > 0
    d_model = given["query"].shape[-1]
    again = {**given, "training": False, "dropout_p": 0.0, "average_attn_weights": False}
    again["out_proj_weight"] = torch.eye(d_model, dtype=result.dtype, device=result.device)
    again["out_proj_bias"] = None
    merged, weights = function(**again)
    if weights is None:
        weights = function(**{**again, "need_weights": True})[1]
    weights = weights if weights.ndim == 4 else weights[None]  # (B, H, n_q, n_k)
    own = (merged if merged.ndim == 3 else merged[:, None]).transpose(0, 1)  # (B, n_q, d_model)
    own = own.unflatten(-1, (H, -1))
    layer = WeightsRecord(weights, v=_values(given, weights.shape[-1]))
    if layer.v is None:
        return None, None, "refused", "its keys and values come from outside", UNCHECKED
    if has_dropout:
        return layer, own, "dense", f"{_REASON}; shown without its dropout", UNCHECKED
    rounding = Rounding.of(own.dtype)
    projected = F.linear(merged, given["out_proj_weight"], given["out_proj_bias"])
    if not torch.allclose(projected, result, rtol=0, atol=_tolerance(result, rounding)):
        reason = "its heads' projected outputs differ from its output"
        return None, None, "refused", reason, UNCHECKED
    checks = Checks(compare(layer, own, all_rows(layer), rounding), None, rounding)
    return layer, own, "dense", _REASON, checks


def _tolerance(result: Tensor, rounding: Rounding) -> float:
    """Allowed rounding of a projection, relative to its largest number."""
    return rounding.relative * float(result.abs().max())


def _values(given: dict[str, Any], n_k: int) -> Tensor | None:
    """(B, H, n_k, d_v): the values, by the module's own projection; None if given from outside."""
    if given["static_v"] is not None:
        return None
    d = given["query"].shape[-1]
    bias = given["in_proj_bias"]
    separate = given["use_separate_proj_weight"]
    weight = given["v_proj_weight"] if separate else given["in_proj_weight"][2 * d :]
    value = given["value"] if given["value"].ndim == 3 else given["value"][:, None]
    v = F.linear(value, weight, None if bias is None else bias[2 * d :])  # (n, B, d_model)
    if given["bias_v"] is not None:
        v = torch.cat([v, given["bias_v"].expand(1, v.shape[1], d)])
    if len(v) < n_k:  # the zero key of add_zero_attn
        v = torch.cat([v, v.new_zeros(n_k - len(v), *v.shape[1:])])
    return v.unflatten(-1, (given["num_heads"], -1)).permute(1, 2, 0, 3)
