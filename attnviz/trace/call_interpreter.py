"""What a dispatched attention call means: from its arguments to a layer that answers for itself.

The arguments leave some things open (whose convention a missing mask follows, what a sink does), so
a call is read in each way that they allow, and the layer's own function decides: a reading is
believed if it gives the layer's outputs, and what the function makes of random values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from attnviz.trace.compute import LayerRecord, QKVRecord, WeightsRecord
from attnviz.trace.edited import EditedRecord
from attnviz.trace.fidelity import (
    UNCHECKED,
    Check,
    Checks,
    Rounding,
    compare,
    compare_rows,
    sampled_rows,
)
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.opaque_masks import UnreadableMask, block_mask_term, padding_term, window_term
from attnviz.trace.probe import Dispatch, ProbeResult, ask, signs_like, values_like
from attnviz.trace.term_detection import cached_per_tensor, mask_term, relative_or_dense
from attnviz.trace.terms import Term, causal

Source = Literal["exact", "dense", "refused"]


@dataclass(frozen=True)
class Interpretation:
    """A call as a layer.

    Attributes:
        layer: what is kept, None if refused. source, reason: how it was come by, why not exactly.
        checks: of some rows, or of all of a short input.
    """

    layer: QKVRecord | WeightsRecord | None
    source: Source
    reason: str = ""
    checks: Checks = UNCHECKED


class CallInterpreter:
    """Reads the calls of one forward pass; what layers share is read once."""

    def __init__(self) -> None:
        self._mask_term = cached_per_tensor(mask_term)
        self._bias_term = cached_per_tensor(relative_or_dense)
        self._signs: dict[tuple[object, ...], Tensor] = {}

    @torch.no_grad()
    def read(self, call: Dispatch, output: Tensor, weights: Tensor | None) -> Interpretation:
        """The layer that a call amounts to.

        Args:
            output: (B, n_q, H, d_v) what the call gave; weights: with its weights, if it told.
        """
        found = self._exact(call, output, weights)
        return found if found.layer is not None else self._dense(call, output, weights, found)

    def ask(self, call: Dispatch, all_rows: bool = False) -> ProbeResult | None:
        """What the layer's own function makes of random values."""
        v = call.value
        key = (v.shape[1:], v.device)
        if key not in self._signs:
            self._signs[key] = signs_like(v)
        return ask(call, values_like(v, self._signs[key]), all_rows)

    def _exact(self, call: Dispatch, output: Tensor, weights: Tensor | None) -> Interpretation:
        """The call as products, if they reproduce what it gave; else why not."""
        B, H, n_q, _ = call.query.shape
        if output.shape[:3] != (B, n_q, H):
            return _refused("its output is not one row a query and head")
        try:
            readings = list(self._readings(call))
        except UnreadableMask as error:
            return _refused(str(error))
        q, k, v = _without_rest(
            *(t.detach().to(_entering(t, output)) for t in (call.query, call.key, call.value))
        )
        rounding = Rounding.of(output.dtype, call.is_explicit)
        asked: ProbeResult | None = None
        reason = ""
        for modifiers in readings:
            products = QKVRecord(q, k, v, modifiers)
            same = compare(products, output, sampled_rows(n_q), rounding)
            if not same.passed:
                reason = reason or f"recomputing it from Q, K and V differs by {same.error:.1e}"
                continue
            asked = asked or self.ask(call)
            answer = compare_probe(products, asked, rounding)
            if answer is not None and not answer.passed:
                reason = f"its own function disagrees with its weights by {answer.error:.1e}"
                continue
            if _same_weights(products, weights, rounding):
                return Interpretation(products, "exact", "", Checks(same, answer, rounding))
        return _refused(reason or "the weights that it gave are not those of its Q and K")

    def _readings(self, call: Dispatch) -> Iterator[ScoreModifiers]:
        """The score modifiers that a call's arguments may stand for, the likeliest first."""
        n_q, n_k = call.query.shape[2], call.key.shape[2]
        options = call.options
        scaling = options.get("scaling")
        bias = options.get("position_bias")
        terms = [] if bias is None else [self._bias_term(bias)]
        sinks = options.get("s_aux", options.get("sinks"))
        if sinks is None and call.is_explicit:
            sinks = getattr(call.module, "sinks", None)
        modifiers = ScoreModifiers(
            scaling=float(scaling) if scaling is not None else call.query.shape[-1] ** -0.5,
            softcap=options.get("softcap"),
            # a copy: the model's own may be trained on
            sinks=sinks.detach().clone() if isinstance(sinks, Tensor) else None,
            mask_dtype=call.query.dtype if call.is_explicit and call.query.itemsize == 2 else None,
        )
        for masks in self._masks(call, n_q, n_k):
            kept = tuple(t for t in (*terms, *masks) if t is not None)
            yield replace(modifiers, terms=kept)
            if sinks is not None:
                yield replace(modifiers, terms=kept, sink_gates_output=True)

    def _masks(self, call: Dispatch, n_q: int, n_k: int) -> Iterator[tuple[Term | None, ...]]:
        """What a call may hide from its queries, the likeliest first."""
        mask, device = call.mask, call.query.device
        if isinstance(mask, Tensor) and mask.ndim == 4:
            yield (self._mask_term(mask[:, :, :, :n_k]),)
            return
        found: Term | None = None
        if isinstance(mask, Tensor) and mask.ndim == 2 and mask.shape[1] == n_k:
            found = padding_term(mask, n_q)
        elif isinstance(mask, Tensor):
            raise UnreadableMask(f"its mask has {mask.ndim} dimensions")
        elif mask is not None:
            found = block_mask_term(mask, n_q, n_k)
        if mask is not None and not isinstance(mask, Tensor):
            yield (found,)
            return
        said = call.options.get("is_causal")
        said = getattr(call.module, "is_causal", True) if said is None else said
        hides_later = n_q > 1 and bool(said) and not call.is_explicit
        window = call.options.get("sliding_window")
        # a function of its own may count from the first query or from the last
        from_last = n_k - n_q
        flash = call.implementation.startswith("flash")
        offsets = dict.fromkeys((from_last, 0) if flash else (0, from_last))
        for offset in offsets if hides_later else (from_last,):
            later = causal(n_q, offset, device) if hides_later else None
            yield (found, later)
            if isinstance(window, int) and window < n_k:
                yield (found, window_term(n_q, n_k, window, offset, hides_later, device))

    def _dense(
        self, call: Dispatch, output: Tensor, weights: Tensor | None, why: Interpretation
    ) -> Interpretation:
        """The weights of the layer's own step-by-step function, if they give the same output."""
        n_q, n_k = call.query.shape[2], call.key.shape[2]
        if weights is None:
            if call.draws:
                return _refused("the model is in training mode, where it draws its weights")
            if isinstance(call.mask, Tensor) or call.mask is None:
                stepwise = replace(call, function=call.explicit, mask=_additive_mask(call))
            else:
                return why
            try:
                again, weights = stepwise.run()
            except (RuntimeError, TypeError, AttributeError, ValueError) as error:
                return _refused(
                    f"its own step-by-step attention fails here ({type(error).__name__})"
                )
            if weights is None or again.shape != output.shape:
                return _refused("its own step-by-step attention gives no weights")
        if weights.shape != (*call.query.shape[:3], n_k):
            return _refused(f"its weights have the shape {tuple(weights.shape)}")
        pattern = WeightsRecord(
            weights.detach(), None, call.query.detach(), call.key.detach(), call.value.detach()
        )
        rounding = Rounding.of(output.dtype, call.is_explicit)
        same = compare(pattern, output, sampled_rows(n_q), rounding)
        if not same.passed:
            return _refused(
                f"its own step-by-step attention differs from its output by {same.error:.1e}"
            )
        answer = compare_probe(pattern, self.ask(call), rounding)
        if answer is not None and not answer.passed:
            return _refused(f"its own function disagrees with its weights by {answer.error:.1e}")
        return Interpretation(pattern, "dense", why.reason, Checks(same, answer, rounding))


def _refused(reason: str) -> Interpretation:
    return Interpretation(None, "refused", reason)


def compare_probe(
    layer: LayerRecord, asked: ProbeResult | None, rounding: Rounding
) -> Check | None:
    """A layer's weights beside its own function's, by what both make of random values.

    Args:
        asked: what the function made of them; None if it could not be run again, and then nothing
            is known.
    """
    if asked is None:
        return None
    if isinstance(layer, EditedRecord):
        layer = layer.base  # the function knows of no edits
    return compare_rows(replace(layer, v=asked.values), asked.answers, rounding)


def _entering(t: Tensor, output: Tensor) -> torch.dtype:
    """The format in which a tensor enters the product: under autocast, the output's."""
    return output.dtype if output.dtype.itemsize < t.dtype.itemsize else t.dtype


def _without_rest(*tensors: Tensor) -> list[Tensor]:
    """The tensors; one that is a small part of a larger allocation as a copy, so that the rest of
    it is not held (values beside queries and keys that were rotated into new tensors)."""
    held: dict[int, int] = {}
    for t in tensors:
        place = t.untyped_storage().data_ptr()
        held[place] = held.get(place, 0) + t.nbytes
    return [
        t.clone()
        if t.untyped_storage().nbytes() > 1.5 * held[t.untyped_storage().data_ptr()]
        else t
        for t in tensors
    ]


def _additive_mask(call: Dispatch) -> Tensor | None:
    """A call's mask as the step-by-step functions take it: added to the scores."""
    query, mask = call.query, call.mask
    n_q, n_k = query.shape[2], call.key.shape[2]
    lowest = torch.finfo(query.dtype).min
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        blank = torch.zeros(mask.shape, dtype=query.dtype, device=query.device)
        return blank.masked_fill_(~mask, lowest)
    if not call.is_causal:
        return mask
    later = torch.ones(n_q, n_k, dtype=torch.bool, device=query.device).triu(n_k - n_q + 1)
    blank = torch.zeros(1, 1, n_q, n_k, dtype=query.dtype, device=query.device)
    return blank.masked_fill_(later, lowest)


def _same_weights(products: QKVRecord, weights: Tensor | None, rounding: Rounding) -> bool:
    """Whether the sampled weights are those that the layer itself returned, if it did.

    Needed where two readings give the same output: a sink in the softmax, or a gate behind it.
    """
    if weights is None or products.modifiers.sinks is None:
        return True
    B, H, n_q, n_k = products.shape
    for item in range(B):
        for rows in sampled_rows(n_q):
            mine = products.weights(item, slice(0, H), rows, 0, n_k)
            apart = (mine - weights[item, :, rows]).abs().max()
            if not apart <= max(rounding.relative, 1e-5):
                return False
    return True
