"""One trace out of the many forward passes of a KV-cached generation.

Each pass adds queries, and keys and values for them; what it looks at are the keys of the cache.
Put together, the passes are one layer call over the whole text: the queries stacked, the keys in
their order, and for each query the range of keys that its pass let it see.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from attnviz.trace.compute import Pattern, Products, Recorded
from attnviz.trace.recorder import Call
from attnviz.trace.rules import (
    IntervalMask,
    ScoreRules,
    Term,
    mask_term,
    relative_or_dense,
)


def merge(calls: Sequence[Call], grows: bool) -> Call:
    """The calls of one layer in the passes of a generation, as one call.

    Args:
        grows: whether each pass adds keys (cross-attention looks at the same ones each time).

    A refused pass refuses the whole; a dense one makes the whole dense.
    """
    first = calls[0]
    if len(calls) == 1:
        return first
    refused = next((c for c in calls if c.layer is None), None)
    if refused is not None:
        return Call(first.module, None, None, "refused", refused.reason)
    owns = [c.own for c in calls]
    own = None if any(o is None for o in owns) else torch.cat([o for o in owns if o is not None], 1)
    layers = [c.layer for c in calls if c.layer is not None]
    products = [x for x in layers if isinstance(x, Products)]
    if len(products) == len(layers):
        return Call(first.module, _merge_products(products, grows), own, "exact")
    reason = next(c.reason for c in calls if isinstance(c.layer, Pattern))
    return Call(first.module, _merge_patterns(layers, grows), own, "dense", reason)


def _offsets(layers: Sequence[Recorded], grows: bool) -> list[int]:
    """Where each pass's first key lies in the whole text: a sliding cache has dropped some."""
    if not grows:
        return [0] * len(layers)
    offsets, seen = [], 0
    for layer in layers:
        seen += layer.shape[2]
        offsets.append(max(0, seen - layer.shape[3]))
    return offsets


def _whole(parts: Sequence[Tensor], layers: Sequence[Recorded], grows: bool) -> Tensor:
    """All keys (or values): the last pass's, if it saw all; else each pass's newest."""
    total = sum(x.shape[2] for x in layers)
    if not grows or parts[-1].shape[2] >= total:
        return parts[-1]
    newest = [part[:, :, -x.shape[2] :] for part, x in zip(parts, layers, strict=True)]
    return torch.cat(newest, dim=2)


def _merge_products(layers: Sequence[Products], grows: bool) -> Products:
    q = torch.cat([x.q for x in layers], dim=2)
    k = _whole([x.k for x in layers], layers, grows)
    v = _whole([x.v for x in layers], layers, grows)
    rules = [x.rules for x in layers]
    n_k = k.shape[2]
    offsets = _offsets(layers, grows)
    terms: list[Term | None] = []
    intervals = [_as_interval(x, o) for x, o in zip(layers, offsets, strict=True)]
    if all(i is not None for i in intervals):
        found = [i for i in intervals if i is not None]
        B = max(len(i.lo) for i in found)
        lo = torch.cat([i.lo.expand(B, -1) for i in found], dim=1)
        hi = torch.cat([i.hi.expand(B, -1) for i in found], dim=1)
        terms.append(IntervalMask(lo, hi, min(i.fill for i in found)))
    else:
        terms.append(mask_term(_dense(layers, offsets, n_k, masks=True)))
    if any(not isinstance(t, IntervalMask) for r in rules for t in r.terms):
        terms.append(relative_or_dense(_dense(layers, offsets, n_k, masks=False)))
    sinks = rules[0].sinks
    if sinks is not None and sinks.ndim == 4 and sinks.shape[2] != 1:
        sinks = torch.cat([r.sinks for r in rules if r.sinks is not None], dim=2)
    merged = ScoreRules(
        rules[0].scaling,
        rules[0].softcap,
        tuple(t for t in terms if t is not None),
        sinks,
        rules[0].sink_gates_output,
    )
    return Products(q, k, v, merged)


def _as_interval(layer: Products, offset: int) -> IntervalMask | None:
    """What a pass lets its queries see, in keys of the whole text, if that is a range a row."""
    n_q, n_k = layer.shape[2:]
    masks = [t for t in layer.rules.terms if isinstance(t, IntervalMask)]
    if len(masks) > 1:
        return None
    if not masks:
        lo = torch.full((1, n_q), offset, device=layer.q.device)
        return IntervalMask(lo, lo + n_k, -torch.inf)
    (m,) = masks
    return IntervalMask(m.lo + offset, m.hi.clamp(max=n_k) + offset, m.fill)


def _dense(layers: Sequence[Products], offsets: Sequence[int], n_k: int, masks: bool) -> Tensor:
    """(B, H, n_q, n_k): the passes' masks, or their biases, below each other."""
    rows = []
    for layer, offset in zip(layers, offsets, strict=True):
        B, H, n_q, cols = layer.shape
        total = torch.zeros(B, H, n_q, cols, device=layer.q.device)
        for term in layer.rules.terms:
            if isinstance(term, IntervalMask) == masks:
                for b in range(B):
                    term.add_to(total[b], b, slice(0, H), slice(0, n_q), slice(0, cols))
        outside = -torch.inf if masks else 0.0
        rows.append(F.pad(total, (offset, n_k - cols - offset), value=outside))
    return torch.cat(rows, dim=2)


def _merge_patterns(layers: Sequence[Recorded], grows: bool) -> Pattern:
    offsets = _offsets(layers, grows)
    n_k = max(o + x.shape[3] for o, x in zip(offsets, layers, strict=True))
    rows = []
    for layer, offset in zip(layers, offsets, strict=True):
        B, H, n_q, cols = layer.shape
        w = torch.stack([layer.weights(b, slice(0, H), slice(0, n_q), 0, cols) for b in range(B)])
        rows.append(F.pad(w, (offset, n_k - cols - offset)))
    values = [x.v for x in layers]
    seen = [v for v in values if v is not None]
    v = _whole(seen, layers, grows) if len(seen) == len(values) else None
    return Pattern(torch.cat(rows, dim=2), None, None, None, v)
