"""One trace out of the many forward passes of a KV-cached generation.

Each pass adds queries, and keys and values for them; what it looks at are the keys of the cache.
Put together, the passes are one layer call over the whole text: the queries stacked, the keys in
their order, and for each query the range of keys that its pass let it see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from operator import and_

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnviz.errors import AttnVizError
from attnviz.trace.compute import QKVRecord, WeightsRecord
from attnviz.trace.recorder import Call
from attnviz.trace.structure import Kind
from attnviz.trace.term_detection import mask_term, relative_or_dense
from attnviz.trace.terms import IntervalMask, Term


@dataclass(frozen=True)
class Pass:
    """One layer's call in one pass.

    Attributes:
        n_q: how many queries it added. n_k: how many keys it looked at; once the next pass has come
            only those that it added are held.
    """

    call: Call
    n_q: int
    n_k: int

    @classmethod
    def of(cls, call: Call) -> Pass:
        """A pass that holds all it looked at."""
        n_q, n_k = call.layer.shape[2:] if call.layer is not None else (0, 0)
        return cls(call, n_q, n_k)

    def newest(self) -> Pass:
        """The pass with the keys and values that it added alone: the next pass has the others.

        A cache makes a new tensor of all keys in each pass. Held to the end they would be n^2.
        """
        layer = self.call.layer
        if isinstance(layer, QKVRecord):
            layer = replace(layer, k=_last(layer.k, self.n_q), v=_last(layer.v, self.n_q))
        elif isinstance(layer, WeightsRecord):
            layer = WeightsRecord(
                layer.values, v=None if layer.v is None else _last(layer.v, self.n_q)
            )
        return replace(self, call=replace(self.call, layer=layer))


class Passes:
    """The layers of a generation, put together from its passes as they come.

    Args:
        kind_of: the kind of an attention module. Each pass adds keys to what a module looks at, but
            to those of cross-attention, which are the same each time.
    """

    def __init__(self, kind_of: Callable[[nn.Module], Kind]) -> None:
        self._kind_of = kind_of
        self._layers: dict[int, list[Pass]] = {}  # in the order in which they first ran

    def add(self, calls: Sequence[Call]) -> None:
        """The calls of one more pass."""
        for call in calls:
            passes = self._layers.setdefault(call.index, [])
            new = Pass.of(call)
            if new.n_q > 1:  # without a cache each pass reads everything again
                passes.clear()
            elif passes and self._grows(call.module):
                passes[-1] = passes[-1].newest()
            passes.append(new)

    @property
    def started(self) -> bool:
        """Whether a pass has come."""
        return bool(self._layers)

    def merged(self) -> list[Call]:
        """Each layer as one call over all passes."""
        return [merge(x, self._grows(x[0].call.module)) for x in self._layers.values()]

    def adds_up(self, layer: int, n: int) -> bool:
        """Whether a layer ran in each of n passes, and saw in each no more than came by then.

        (T5Gemma 2 lays a decoder's keys and an encoder's side by side.)
        """
        passes = self._layers.get(layer, [])
        if len(passes) != n:
            return False
        seen = list(accumulate(p.n_q for p in passes))
        return not self._grows(passes[0].call.module) or all(
            p.n_k <= n_k for p, n_k in zip(passes, seen, strict=True)
        )

    def kind(self, layer: int) -> Kind:
        """The kind of a layer.

        Raises:
            AttnVizError: no such layer.
        """
        return self._kind_of(self._passes(layer)[0].call.module)

    def weights(self, layer: int, head: int, since: int | None = None) -> Tensor:
        """(r, n_k): the weights of one head's newest query, or of all from query ``since`` on.

        Raises:
            AttnVizError: no such layer or head, or a layer that was refused.
        """
        passes = self._passes(layer)
        seen = sum(p.n_q for p in passes)
        if since is None or since >= seen - passes[-1].n_q:  # the last pass has made them all
            call, before = passes[-1].call, seen - passes[-1].n_q
        else:
            call, before = merge(passes, self._grows(passes[0].call.module)), 0
        held = call.layer
        if held is None:
            raise AttnVizError(f"Layer {layer} cannot be shown: {call.reason}.", "Choose another.")
        _, H, n_q, n_k = held.shape
        if not 0 <= head < H:
            raise AttnVizError(f"Layer {layer} has no head {head}.", f"They run from 0 to {H - 1}.")
        first = n_q - 1 if since is None else max(0, since - before)
        rows = held.weights(0, slice(head, head + 1), slice(first, n_q), 0, n_k)[0]  # (r, n_k)
        gone = seen - n_k if self._grows(call.module) else 0  # of a sliding cache
        return F.pad(rows, (max(0, gone), 0))

    def _passes(self, layer: int) -> list[Pass]:
        if layer not in self._layers:
            raise AttnVizError(f"There is no layer {layer}.", "Choose one that has run.")
        return self._layers[layer]

    def _grows(self, module: nn.Module) -> bool:
        return self._kind_of(module) != "cross"

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held, each place in memory counted once."""
        held: dict[int, int] = {}
        for passes in self._layers.values():
            for p in passes:
                layer = p.call.layer
                parts = [] if layer is None else [layer.q, layer.k, layer.v]
                if isinstance(layer, WeightsRecord):
                    parts.append(layer.values)
                for t in (*parts, p.call.own):
                    if t is not None:
                        place = t.untyped_storage()
                        held[place.data_ptr()] = place.nbytes()
        return sum(held.values())


def merge(passes: Sequence[Pass], grows: bool) -> Call:
    """The calls of one layer in the passes of a generation, as one call.

    Args:
        grows: whether each pass adds keys (cross-attention looks at the same ones each time).

    A refused pass refuses the whole, and so do passes of which some are dense and some exact: of
    the exact ones too few keys are left to give their weights.
    """
    calls = [p.call for p in passes]
    first = calls[0]
    if len(calls) == 1:
        return first
    refused = next((c for c in calls if c.layer is None), None)
    if refused is not None:
        return Call(first.module, None, None, "refused", refused.reason, index=first.index)
    checks = reduce(and_, (c.checks for c in calls))
    owns = [c.own for c in calls if c.own is not None]
    own = torch.cat(owns, dim=1) if len(owns) == len(calls) else None
    if all(isinstance(c.layer, QKVRecord) for c in calls):
        products = _merge_products(passes, grows)
        return Call(first.module, products, own, "exact", index=first.index, checks=checks)
    if not all(isinstance(c.layer, WeightsRecord) for c in calls):
        reason = "some passes could be recomputed and some could not"
        return Call(first.module, None, None, "refused", reason, index=first.index)
    layer = _merge_patterns(passes, grows)
    return Call(first.module, layer, own, "dense", first.reason, index=first.index, checks=checks)


def _offsets(passes: Sequence[Pass], grows: bool) -> list[int]:
    """Where each pass's first key lies in the whole text: a sliding cache has dropped some."""
    if not grows:
        return [0] * len(passes)
    offsets, seen = [], 0
    for p in passes:
        seen += p.n_q
        offsets.append(max(0, seen - p.n_k))
    return offsets


def _whole(parts: Sequence[Tensor], passes: Sequence[Pass], grows: bool) -> Tensor:
    """All keys (or values): the last pass's, if it saw all; else each pass's newest."""
    total = sum(p.n_q for p in passes)
    if not grows or parts[-1].shape[2] >= total:
        return parts[-1]
    newest = [part[:, :, -p.n_q :] for part, p in zip(parts, passes, strict=True)]
    return torch.cat(newest, dim=2)


def _last(t: Tensor, n: int) -> Tensor:
    """(B, H, n, d): the last rows, without holding the others."""
    return t if t.shape[2] <= n else t[:, :, -n:].clone()


def _merge_products(passes: Sequence[Pass], grows: bool) -> QKVRecord:
    layers = [p.call.layer for p in passes if isinstance(p.call.layer, QKVRecord)]
    q = torch.cat([x.q for x in layers], dim=2)
    k = _whole([x.k for x in layers], passes, grows)
    v = _whole([x.v for x in layers], passes, grows)
    modifiers = [x.modifiers for x in layers]
    n_k = k.shape[2]
    offsets = _offsets(passes, grows)
    terms: list[Term | None] = []
    looks = zip(layers, passes, offsets, strict=True)
    intervals = [_as_interval(x, p.n_k, o) for x, p, o in looks]
    if all(i is not None for i in intervals):
        found = [i for i in intervals if i is not None]
        B = max(len(i.lo) for i in found)
        lo = torch.cat([i.lo.expand(B, -1) for i in found], dim=1)
        hi = torch.cat([i.hi.expand(B, -1) for i in found], dim=1)
        terms.append(IntervalMask(lo, hi, min(i.fill for i in found)))
    else:
        terms.append(mask_term(_dense(layers, passes, offsets, n_k, masks=True)))
    if any(not isinstance(t, IntervalMask) for r in modifiers for t in r.terms):
        terms.append(relative_or_dense(_dense(layers, passes, offsets, n_k, masks=False)))
    sinks = modifiers[0].sinks
    if sinks is not None and sinks.ndim == 4 and sinks.shape[2] != 1:
        sinks = torch.cat([r.sinks for r in modifiers if r.sinks is not None], dim=2)
    kept = tuple(t for t in terms if t is not None)
    return QKVRecord(q, k, v, replace(modifiers[0], terms=kept, sinks=sinks))


def _as_interval(layer: QKVRecord, n_k: int, offset: int) -> IntervalMask | None:
    """What a pass lets its queries see, in keys of the whole text, if that is a range a row."""
    n_q = layer.shape[2]
    masks = [t for t in layer.modifiers.terms if isinstance(t, IntervalMask)]
    if len(masks) > 1:
        return None
    if not masks:
        lo = torch.full((1, n_q), offset, device=layer.q.device)
        return IntervalMask(lo, lo + n_k, -torch.inf)
    (m,) = masks
    return IntervalMask(m.lo + offset, m.hi.clamp(max=n_k) + offset, m.fill)


def _dense(
    layers: Sequence[QKVRecord],
    passes: Sequence[Pass],
    offsets: Sequence[int],
    n_k: int,
    masks: bool,
) -> Tensor:
    """(B, H, n_q, n_k): the passes' masks, or their biases, below each other."""
    rows = []
    for layer, p, offset in zip(layers, passes, offsets, strict=True):
        B, H, n_q, _ = layer.shape
        total = torch.zeros(B, H, n_q, p.n_k, device=layer.q.device)
        for term in layer.modifiers.terms:
            if isinstance(term, IntervalMask) == masks:
                for b in range(B):
                    term.add_to(total[b], b, slice(0, H), slice(0, n_q), slice(0, p.n_k))
        outside = -torch.inf if masks else 0.0
        rows.append(F.pad(total, (offset, n_k - p.n_k - offset), value=outside))
    return torch.cat(rows, dim=2)


def _merge_patterns(passes: Sequence[Pass], grows: bool) -> WeightsRecord:
    layers = [p.call.layer for p in passes if isinstance(p.call.layer, WeightsRecord)]
    offsets = _offsets(passes, grows)
    n_k = max(o + p.n_k for o, p in zip(offsets, passes, strict=True))
    rows = [
        F.pad(x.values, (offset, n_k - p.n_k - offset))
        for x, p, offset in zip(layers, passes, offsets, strict=True)
    ]
    seen = [x.v for x in layers if x.v is not None]
    v = _whole(seen, passes, grows) if len(seen) == len(layers) else None
    return WeightsRecord(torch.cat(rows, dim=2), None, None, None, v)
