"""From the arguments of a dispatched attention call to a layer record.

The arguments leave some things open: which keys are hidden where there is no mask, or whether a
sink takes part in the softmax. So there may be several candidates, and the layer's own function
decides: a candidate is accepted if it gives the layer's outputs, and the function's outputs for
random values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnviz.trace.call import Source
from attnviz.trace.dispatch import Dispatch
from attnviz.trace.fidelity import (
    UNCHECKED,
    Check,
    Checks,
    Rounding,
    compare,
    compare_rows,
    sampled_rows,
)  # fmt: skip
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.probe import ProbeResult, probe_signs, probe_values, run_probe
from attnviz.trace.records import LayerRecord, QKVRecord, WeightsRecord
from attnviz.trace.term_detection import (
    UnreadableMask,
    block_mask_term,
    cached_per_tensor,
    mask_term,
    padding_term,
    relative_or_dense,
    window_term,
)  # fmt: skip
from attnviz.trace.terms import Term, causal

# How far the weights may be from those that the layer itself returned.
_WEIGHTS_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Interpretation:
    """A call as a layer record.

    Attributes:
        layer: the record, None if refused. source, reason: how it was obtained, and why it is not
            exact. checks: of some rows, or of all rows of a short input.
    """

    layer: QKVRecord | WeightsRecord | None
    source: Source
    reason: str = ""
    checks: Checks = UNCHECKED


class CallInterpreter:
    """Interprets the calls of one forward pass; masks that layers share are examined once."""

    def __init__(self) -> None:
        self._mask_term = cached_per_tensor(mask_term)
        self._bias_term = cached_per_tensor(relative_or_dense)
        self._signs: dict[tuple[object, ...], Tensor] = {}

    @torch.no_grad()
    def interpret(self, call: Dispatch, output: Tensor, weights: Tensor | None) -> Interpretation:
        """The record of a call: exact if possible, else dense, else refused.

        Args:
            output: (B, n_q, H, d_v) what the call returned, and its weights, if it returned them.
        """
        exact = self._exact(call, output, weights)
        return exact if exact.layer is not None else self._dense(call, output, weights, exact)

    def probe(self, call: Dispatch, all_rows: bool = False) -> ProbeResult | None:
        """The outputs of the layer's own function for random values."""
        v = call.value
        key = (v.shape[1:], v.device)
        if key not in self._signs:
            self._signs[key] = probe_signs(v)
        return run_probe(call, probe_values(v, self._signs[key]), all_rows)

    def _exact(self, call: Dispatch, output: Tensor, weights: Tensor | None) -> Interpretation:
        """The call as Q, K, V and modifiers, if these reproduce its output; else why not."""
        B, H, n_q, _ = call.query.shape
        if output.shape[:3] != (B, n_q, H):
            return _refused("its output is not one row a query and head")
        try:
            candidates = list(self._candidates(call))
        except UnreadableMask as error:
            return _refused(str(error))
        q, k, v = _own_storage(
            *(t.detach().to(_product_dtype(t, output)) for t in (call.query, call.key, call.value))
        )
        rounding = Rounding.of(output.dtype, call.is_eager)
        probe: ProbeResult | None = None
        reason = ""
        for modifiers in candidates:
            record = QKVRecord(q, k, v, modifiers)
            outputs = compare(record, output, sampled_rows(n_q), rounding)
            if not outputs.passed:
                reason = reason or f"recomputing it from Q, K and V differs by {outputs.error:.1e}"
                continue
            probe = probe or self.probe(call)
            probed = compare_probe(record, probe, rounding)
            if probed is not None and not probed.passed:
                reason = f"its own function disagrees with its weights by {probed.error:.1e}"
                continue
            if _same_weights(record, weights, rounding):
                return Interpretation(record, "exact", "", Checks(outputs, probed, rounding))
        return _refused(reason or "the weights that it gave are not those of its Q and K")

    def _candidates(self, call: Dispatch) -> Iterator[ScoreModifiers]:
        """The score modifiers that a call's arguments may stand for, the likeliest first."""
        options = call.options
        scaling = options.get("scaling")
        bias = options.get("position_bias")
        biases = [] if bias is None else [self._bias_term(bias)]
        sinks = options.get("s_aux", options.get("sinks"))
        if sinks is None and call.is_eager:
            sinks = getattr(call.module, "sinks", None)
        modifiers = ScoreModifiers(
            scaling=float(scaling) if scaling is not None else call.query.shape[-1] ** -0.5,
            softcap=options.get("softcap"),
            # a copy: the model's own may be trained later
            sinks=sinks.detach().clone() if isinstance(sinks, Tensor) else None,
            mask_dtype=call.query.dtype if call.is_eager and call.query.itemsize == 2 else None,
        )
        for masks in self._mask_candidates(call):
            terms = tuple(t for t in (*biases, *masks) if t is not None)
            yield replace(modifiers, terms=terms)
            if sinks is not None:
                yield replace(modifiers, terms=terms, sink_gates_output=True)

    def _mask_candidates(self, call: Dispatch) -> Iterator[tuple[Term | None, ...]]:
        """The masks that a call's arguments may stand for, the likeliest first."""
        n_q, n_k = call.query.shape[2], call.key.shape[2]
        mask, device = call.mask, call.query.device
        if isinstance(mask, Tensor) and mask.ndim == 4:
            yield (self._mask_term(mask[:, :, :, :n_k]),)
            return
        if mask is not None and not isinstance(mask, Tensor):
            yield (block_mask_term(mask, n_q, n_k),)
            return
        padding: Term | None = None
        if isinstance(mask, Tensor):
            if mask.ndim != 2 or mask.shape[1] != n_k:
                raise UnreadableMask(f"its mask has {mask.ndim} dimensions")
            padding = padding_term(mask, n_q)
        option = call.options.get("is_causal")
        option = getattr(call.module, "is_causal", True) if option is None else option
        hides_later = n_q > 1 and bool(option) and not call.is_eager
        window = call.options.get("sliding_window")
        # a function may align the causal triangle with the first query or with the last
        to_last = n_k - n_q
        flash = call.implementation.startswith("flash")
        offsets = dict.fromkeys((to_last, 0) if flash else (0, to_last))
        for offset in offsets if hides_later else (to_last,):
            yield (padding, causal(n_q, offset, device) if hides_later else None)
            if isinstance(window, int) and window < n_k:
                yield (padding, window_term(n_q, n_k, window, offset, hides_later, device))

    def _dense(
        self, call: Dispatch, output: Tensor, weights: Tensor | None, exact: Interpretation
    ) -> Interpretation:
        """The weights of the layer's own eager function, if they give the same output.

        Args:
            exact: the attempt before, which says why the call is not exact.
        """
        n_q, n_k = call.query.shape[2], call.key.shape[2]
        if weights is None:
            if call.is_random:
                return _refused("the model is in training mode, where it draws its weights")
            if call.mask is not None and not isinstance(call.mask, Tensor):
                return exact
            eager = replace(call, function=call.eager, mask=_additive_mask(call))
            try:
                eager_output, weights = eager.run()
            except (RuntimeError, TypeError, AttributeError, ValueError) as error:
                return _refused(
                    f"its own step-by-step attention fails here ({type(error).__name__})"
                )
            if weights is None or eager_output.shape != output.shape:
                return _refused("its own step-by-step attention gives no weights")
        if weights.shape != (*call.query.shape[:3], n_k):
            return _refused(f"its weights have the shape {tuple(weights.shape)}")
        record = WeightsRecord(
            weights.detach(), None, call.query.detach(), call.key.detach(), call.value.detach()
        )
        rounding = Rounding.of(output.dtype, call.is_eager)
        outputs = compare(record, output, sampled_rows(n_q), rounding)
        if not outputs.passed:
            return _refused(
                f"its own step-by-step attention differs from its output by {outputs.error:.1e}"
            )
        probed = compare_probe(record, self.probe(call), rounding)
        if probed is not None and not probed.passed:
            return _refused(f"its own function disagrees with its weights by {probed.error:.1e}")
        return Interpretation(record, "dense", exact.reason, Checks(outputs, probed, rounding))


def compare_probe(
    layer: LayerRecord, probe: ProbeResult | None, rounding: Rounding
) -> Check | None:
    """Compares a record's weights with the layer's function, by their outputs for random values.

    Args:
        probe: None if the function could not be run again; then there is nothing to compare.
    """
    if probe is None:
        return None
    # the function runs without the edits
    return compare_rows(replace(layer.unedited, v=probe.values), probe.outputs, rounding)


def _refused(reason: str) -> Interpretation:
    return Interpretation(None, "refused", reason)


def _product_dtype(t: Tensor, output: Tensor) -> torch.dtype:
    """The dtype in which a tensor enters the product: under autocast, the output's."""
    return output.dtype if output.dtype.itemsize < t.dtype.itemsize else t.dtype


def _own_storage(*tensors: Tensor) -> list[Tensor]:
    """The tensors; those that are a small part of a larger allocation are copied.

    Otherwise the whole allocation would stay in memory: a fused projection's, for the values alone,
    where queries and keys were rotated into new tensors.
    """
    used: dict[int, int] = {}  # bytes of each allocation that the tensors need
    for t in tensors:
        address = t.untyped_storage().data_ptr()
        used[address] = used.get(address, 0) + t.nbytes
    return [
        t.clone()
        if t.untyped_storage().nbytes() > 1.5 * used[t.untyped_storage().data_ptr()]
        else t
        for t in tensors
    ]


def _additive_mask(call: Dispatch) -> Tensor | None:
    """A call's mask as eager functions take it: added to the scores."""
    query, mask = call.query, call.mask
    n_q, n_k = query.shape[2], call.key.shape[2]
    lowest = torch.finfo(query.dtype).min
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        zeros = torch.zeros(mask.shape, dtype=query.dtype, device=query.device)
        return zeros.masked_fill_(~mask, lowest)
    if not call.is_causal:
        return mask
    later = torch.ones(n_q, n_k, dtype=torch.bool, device=query.device).triu(n_k - n_q + 1)
    zeros = torch.zeros(1, 1, n_q, n_k, dtype=query.dtype, device=query.device)
    return zeros.masked_fill_(later, lowest)


def _same_weights(record: QKVRecord, weights: Tensor | None, rounding: Rounding) -> bool:
    """Whether sampled weights are those that the layer itself returned, if it did.

    Needed where two candidates give the same output: a sink in the softmax, or a gate after it.
    """
    if weights is None or record.modifiers.sinks is None:
        return True
    B, H, n_q, n_k = record.shape
    for item in range(B):
        for rows in sampled_rows(n_q):
            recomputed = record.weights(item, slice(0, H), rows, 0, n_k)
            difference = (recomputed - weights[item, :, rows]).abs().max()
            if not difference <= max(rounding.relative, _WEIGHTS_TOLERANCE):
                return False
    return True
