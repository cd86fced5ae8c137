"""Reading calls of PyTorch's fused attention, whose arguments are all that is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from attnviz.trace.fidelity import Checks, Rounding, compare, compare_rows, sampled_rows
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.probe import probe_values
from attnviz.trace.records import QKVRecord
from attnviz.trace.term_detection import mask_term
from attnviz.trace.terms import Term, causal


def read_fused(
    function: Callable[..., Tensor],
    arguments: dict[str, Any],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    own: Tensor,
) -> tuple[QKVRecord | None, str, Checks]:
    """The record of a call, or None and the reason; and what was compared.

    Args:
        function: `torch.nn.functional.scaled_dot_product_attention`, and its arguments by name.
        q, k, v: (B, H, n, d) the arguments' tensors. own: (B, n_q, H, d_v) the call's output.
    """
    n_q = q.shape[2]
    terms: list[Term | None] = []
    mask = arguments.get("attn_mask")
    if isinstance(mask, Tensor):
        mask = mask[(None,) * (4 - mask.ndim)]
        terms.append(mask_term(mask))
    if arguments.get("is_causal"):
        terms.append(causal(n_q, 0, q.device))
    scale = arguments.get("scale")
    modifiers = ScoreModifiers(
        float(scale) if scale is not None else q.shape[-1] ** -0.5,
        terms=tuple(t for t in terms if t is not None),
    )
    layer = QKVRecord(q, k, v, modifiers)
    rounding = Rounding.of(own.dtype)
    outputs = compare(layer, own, sampled_rows(n_q), rounding)
    if not outputs.passed:
        reason = f"recomputing it from Q, K and V differs by {outputs.error:.1e}"
        return None, reason, Checks(outputs, None, rounding)
    probed = None
    if not arguments.get("dropout_p"):  # which uses random numbers
        values = probe_values(v)
        probe = {**arguments, "query": q, "key": k, "value": values, "attn_mask": mask}
        all_outputs = [(slice(0, n_q), function(**probe).transpose(1, 2))]
        probed = compare_rows(replace(layer, v=values), all_outputs, rounding)
    return layer, "", Checks(outputs, probed, rounding)


def windows_first(t: Tensor) -> Tensor | None:
    """(B, H, rows, d), windows as items; None if the tensor has other axes."""
    if t.ndim == 5:  # (B, H, windows, rows, d)
        t = t.transpose(1, 2).flatten(0, 1)
    return t.detach() if t.ndim == 4 else None


def one_query_for_all(query: Tensor) -> bool:
    """Whether all positions share one learned query: it weighs layers or features, not keys."""
    return query.ndim == 4 and query.shape[1] > 1 and query.stride(1) == 0
