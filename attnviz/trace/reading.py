"""What a dispatched attention call means: from its arguments to a layer that answers for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attnviz.trace.compute import Pattern, Products
from attnviz.trace.fidelity import agrees, error_of, sample
from attnviz.trace.rules import ScoreRules, Term, causal, mask_term, once, relative_or_dense

Source = Literal["exact", "dense", "refused"]
AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]


class Reader:
    """Reads the calls of one forward pass; masks and biases that layers share are read once."""

    def __init__(self) -> None:
        self._mask_term = once(mask_term)
        self._bias_term = once(relative_or_dense)

    def read(
        self, implementation: str, explicit: AttentionFunction, is_explicit: bool,
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any,
        options: dict[str, Any], output: Tensor, weights: Tensor | None,
    ) -> tuple[Products | Pattern | None, Source, str]:  # fmt: skip
        """The layer, how it was come by, and why it is not exact.

        Args:
            explicit: the layer's own step-by-step function; is_explicit: whether that was called.
            query: (B, H, n_q, d_head). key, value: (B, H_kv, n_k, d).
            output: (B, n_q, H, d_v) what the call gave; weights: with its weights, if it told.
        """
        products, reason = self._products(
            implementation, is_explicit, module, query, key, value, mask, options, output, weights
        )
        if products is not None:
            return products, "exact", ""
        pattern, why = _own_weights(
            explicit, module, query, key, value, mask, options, output, weights
        )
        return (pattern, "dense", reason) if pattern is not None else (None, "refused", why)

    def _rules(
        self, implementation: str, explicit: bool, module: nn.Module, query: Tensor, key: Tensor,
        mask: Any, options: dict[str, Any],
    ) -> ScoreRules:  # fmt: skip
        """The score rules that a call's arguments stand for."""
        n_q, n_k = query.shape[2], key.shape[2]
        scaling = options.get("scaling")
        if scaling is None:
            scaling = query.shape[-1] ** -0.5
        terms: list[Term | None] = []
        bias = options.get("position_bias")
        if bias is not None:
            terms.append(self._bias_term(bias))
        if isinstance(mask, Tensor):
            mask = mask[:, :, :, :n_k] if mask.ndim == 4 else mask
            terms.append(self._mask_term(mask))
        elif mask is None and not explicit and n_q > 1:
            is_causal = options.get("is_causal")
            if is_causal is None:
                is_causal = getattr(module, "is_causal", True)
            if is_causal:
                offset = n_k - n_q if implementation.startswith("flash") else 0
                terms.append(causal(n_q, offset, query.device))
        sinks = options.get("s_aux", options.get("sinks"))
        if sinks is None and explicit:
            sinks = getattr(module, "sinks", None)
        return ScoreRules(
            scaling=float(scaling),
            softcap=options.get("softcap"),
            terms=tuple(t for t in terms if t is not None),
            sinks=sinks.detach() if isinstance(sinks, Tensor) else None,
        )

    def _products(
        self, implementation: str, explicit: bool, module: nn.Module, query: Tensor, key: Tensor,
        value: Tensor, mask: Any, options: dict[str, Any], output: Tensor, weights: Tensor | None,
    ) -> tuple[Products | None, str]:  # fmt: skip
        """The call as products if they reproduce its output, else why not."""
        B, H, n_q, _ = query.shape
        if output.shape[:3] != (B, n_q, H):
            return None, "its output is not one row a query and head"
        if isinstance(mask, Tensor) and mask.ndim != 4:
            return None, f"its mask has {mask.ndim} dimensions"
        rules = self._rules(implementation, explicit, module, query, key, mask, options)
        error = float("inf")
        q, k, v = _without_rest(query.detach(), key.detach(), value.detach())
        for candidate in _readings(rules):
            products = Products(q, k, v, candidate)
            error = error_of(products, output, *sample(B, n_q))
            if agrees(error, output) and _same_weights(products, weights):
                return products, ""
        return None, f"recomputing it from Q, K and V differs by {error:.1e}"


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


def _readings(rules: ScoreRules) -> Iterator[ScoreRules]:
    """The ways a layer may mean its sinks; without any there is one way."""
    yield rules
    if rules.sinks is not None:
        yield ScoreRules(rules.scaling, rules.softcap, rules.terms, rules.sinks, True)


def _same_weights(products: Products, weights: Tensor | None) -> bool:
    """Whether the sampled weights are those that the layer itself returned, if it did.

    Needed where two readings give the same output: a sink in the softmax, or a gate behind it.
    """
    if weights is None or products.rules.sinks is None:
        return True
    B, H, n_q, n_k = products.shape
    items, blocks = sample(B, n_q)
    return all(
        agrees(float((mine - weights[item, :, rows]).abs().max()), weights)
        for item in items
        for rows in blocks
        for mine in [products.weights(item, slice(0, H), rows, 0, n_k)]
    )


def _own_weights(
    explicit: AttentionFunction, module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
    mask: Any, options: dict[str, Any], output: Tensor, weights: Tensor | None,
) -> tuple[Pattern | None, str]:  # fmt: skip
    """The weights of the layer's own step-by-step function, if that gives the same output."""
    n_q, n_k = query.shape[2], key.shape[2]
    if weights is None:
        lowest = torch.finfo(query.dtype).min
        if isinstance(mask, Tensor) and mask.dtype == torch.bool:
            blank = torch.zeros(mask.shape, dtype=query.dtype, device=query.device)
            mask = blank.masked_fill_(~mask, lowest)
        elif mask is None and n_q > 1 and options.get("is_causal", getattr(module, "is_causal", 1)):
            later = torch.ones(n_q, n_k, dtype=torch.bool, device=query.device).triu(n_k - n_q + 1)
            mask = torch.zeros(1, 1, n_q, n_k, dtype=query.dtype, device=query.device)
            mask = mask.masked_fill_(later, lowest)
        try:
            again, weights = explicit(module, query, key, value, mask, **options)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            return None, f"its own step-by-step attention fails here ({type(error).__name__})"
        if weights is None or again.shape != output.shape:
            return None, "its own step-by-step attention gives no weights"
        apart = float((again - output).abs().max())
        if not agrees(apart, output):
            return None, f"its own step-by-step attention differs from its output by {apart:.1e}"
    if weights.shape != (*query.shape[:3], n_k):
        return None, f"its weights have the shape {tuple(weights.shape)}"
    group = query.shape[1] // value.shape[1]
    repeated = value.repeat_interleave(group, dim=1) if group > 1 else value
    return Pattern(weights, None, query, key, repeated), ""
