"""Merging the many forward passes of a KV-cached generation into one.

Each pass adds queries, with their keys and values, and attends to all keys of the cache. Merged,
the passes of a layer are one call over the whole text: the queries concatenated, the keys in order,
and for each query the range of keys that its pass could see.
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
from attnviz.trace.call import Call
from attnviz.trace.records import QKVRecord, WeightsRecord
from attnviz.trace.structure import Kind
from attnviz.trace.term_detection import mask_term, relative_or_dense
from attnviz.trace.terms import IntervalMask, Term


@dataclass(frozen=True)
class Pass:
    """One layer's call in one pass.

    Attributes:
        n_q: how many queries it added. n_k: how many keys it attended to; once the next pass has
            come, only those that it added are kept.
    """

    call: Call
    n_q: int
    n_k: int

    @classmethod
    def of(cls, call: Call) -> Pass:
        """A pass with all its keys."""
        n_q, n_k = call.layer.shape[2:] if call.layer is not None else (0, 0)
        return cls(call, n_q, n_k)

    def only_new_keys(self) -> Pass:
        """The pass with only the keys and values that it added, since the next pass has the others.

        A cache makes a new tensor of all keys in each pass. Keeping them all would take O(n^2).
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
    """The layers of a generation, collected from its passes as they come.

    Args:
        kind_of: the kind of an attention module. Each pass adds keys, except in cross-attention,
            whose keys are the same in each pass.
    """

    def __init__(self, kind_of: Callable[[nn.Module], Kind]) -> None:
        self._kind_of = kind_of
        self._layers: dict[int, list[Pass]] = {}  # in the order in which layers first ran

    def add(self, calls: Sequence[Call]) -> None:
        """The calls of one more pass."""
        for call in calls:
            passes = self._layers.setdefault(call.index, [])
            new = Pass.of(call)
            if new.n_q > 1:  # without a cache, each pass reads the whole text
                passes.clear()
            elif passes and self._adds_keys(call.module):
                passes[-1] = passes[-1].only_new_keys()
            passes.append(new)

    @property
    def started(self) -> bool:
        """Whether there was a pass."""
        return bool(self._layers)

    def merged(self) -> list[Call]:
        """Each layer as one call over all passes."""
        return [merge(x, self._adds_keys(x[0].call.module)) for x in self._layers.values()]

    def adds_up(self, layer: int, n: int) -> bool:
        """Whether a layer ran in each of n passes, never with more keys than queries so far.

        T5Gemma 2 concatenates a decoder's keys and an encoder's.
        """
        passes = self._layers.get(layer, [])
        if len(passes) != n:
            return False
        n_so_far = list(accumulate(p.n_q for p in passes))
        return not self._adds_keys(passes[0].call.module) or all(
            p.n_k <= n for p, n in zip(passes, n_so_far, strict=True)
        )

    def kind(self, layer: int) -> Kind:
        """The kind of a layer.

        Raises:
            AttnVizError: no such layer.
        """
        return self._kind_of(self._passes(layer)[0].call.module)

    def weights(self, layer: int, head: int, since: int | None = None) -> Tensor:
        """(r, n_k): the weights of a head's newest query, or of all queries from ``since`` on.

        Raises:
            AttnVizError: no such layer or head, or a layer that was refused.
        """
        passes = self._passes(layer)
        total = sum(p.n_q for p in passes)
        if since is None or since >= total - passes[-1].n_q:  # all are in the last pass
            call, before = passes[-1].call, total - passes[-1].n_q
        else:
            call, before = merge(passes, self._adds_keys(passes[0].call.module)), 0
        record = call.layer
        if record is None:
            raise AttnVizError(f"Layer {layer} cannot be shown: {call.reason}.", "Choose another.")
        _, H, n_q, n_k = record.shape
        if not 0 <= head < H:
            raise AttnVizError(f"Layer {layer} has no head {head}.", f"They run from 0 to {H - 1}.")
        first = n_q - 1 if since is None else max(0, since - before)
        rows = record.weights(0, slice(head, head + 1), slice(first, n_q), 0, n_k)[0]  # (r, n_k)
        dropped = total - n_k if self._adds_keys(call.module) else 0  # by a sliding-window cache
        return F.pad(rows, (max(0, dropped), 0))

    def _passes(self, layer: int) -> list[Pass]:
        if layer not in self._layers:
            raise AttnVizError(f"There is no layer {layer}.", "Choose one that has run.")
        return self._layers[layer]

    def _adds_keys(self, module: nn.Module) -> bool:
        return self._kind_of(module) != "cross"

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors; shared memory counts once."""
        sizes: dict[int, int] = {}  # of each allocation
        for passes in self._layers.values():
            for p in passes:
                layer = p.call.layer
                parts = [] if layer is None else [layer.q, layer.k, layer.v]
                if isinstance(layer, WeightsRecord):
                    parts.append(layer.values)
                for t in (*parts, p.call.own):
                    if t is not None:
                        storage = t.untyped_storage()
                        sizes[storage.data_ptr()] = storage.nbytes()
        return sum(sizes.values())


def merge(passes: Sequence[Pass], adds_keys: bool) -> Call:
    """The calls of one layer in the passes of a generation, as one call.

    Args:
        adds_keys: whether each pass adds keys (in cross-attention they stay the same).

    If one pass was refused, the layer is; so it is if some passes are dense and some exact, because
    the exact ones have too few keys left to compute their weights.
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
        record = _merge_exact(passes, adds_keys)
        return Call(first.module, record, own, "exact", index=first.index, checks=checks)
    if not all(isinstance(c.layer, WeightsRecord) for c in calls):
        reason = "some passes could be recomputed and some could not"
        return Call(first.module, None, None, "refused", reason, index=first.index)
    layer = _merge_dense(passes, adds_keys)
    return Call(first.module, layer, own, "dense", first.reason, index=first.index, checks=checks)


def _offsets(passes: Sequence[Pass], adds_keys: bool) -> list[int]:
    """The position of each pass's first key: a sliding-window cache has dropped earlier ones."""
    if not adds_keys:
        return [0] * len(passes)
    offsets, total = [], 0
    for p in passes:
        total += p.n_q
        offsets.append(max(0, total - p.n_k))
    return offsets


def _all_keys(parts: Sequence[Tensor], passes: Sequence[Pass], adds_keys: bool) -> Tensor:
    """All keys (or values): the last pass's if it has all, else the new ones of each pass."""
    total = sum(p.n_q for p in passes)
    if not adds_keys or parts[-1].shape[2] >= total:
        return parts[-1]
    new = [part[:, :, -p.n_q :] for part, p in zip(parts, passes, strict=True)]
    return torch.cat(new, dim=2)


def _last(t: Tensor, n: int) -> Tensor:
    """(B, H, n, d): the last rows, as a copy, so that the others can be freed."""
    return t if t.shape[2] <= n else t[:, :, -n:].clone()


def _merge_exact(passes: Sequence[Pass], adds_keys: bool) -> QKVRecord:
    layers = [p.call.layer for p in passes if isinstance(p.call.layer, QKVRecord)]
    q = torch.cat([x.q for x in layers], dim=2)
    k = _all_keys([x.k for x in layers], passes, adds_keys)
    v = _all_keys([x.v for x in layers], passes, adds_keys)
    modifiers = [x.modifiers for x in layers]
    n_k = k.shape[2]
    offsets = _offsets(passes, adds_keys)
    merged: list[Term | None] = []
    triples = zip(layers, passes, offsets, strict=True)
    intervals = [_as_interval(x, p.n_k, offset) for x, p, offset in triples]
    if all(mask is not None for mask in intervals):
        merged.append(_concat_rows([mask for mask in intervals if mask is not None]))
    else:
        merged.append(mask_term(_dense(layers, passes, offsets, n_k, masks=True)))
    if any(t.as_interval is None for m in modifiers for t in m.terms):
        merged.append(relative_or_dense(_dense(layers, passes, offsets, n_k, masks=False)))
    sinks = modifiers[0].sinks
    if sinks is not None and sinks.ndim == 4 and sinks.shape[2] != 1:
        sinks = torch.cat([m.sinks for m in modifiers if m.sinks is not None], dim=2)
    terms = tuple(t for t in merged if t is not None)
    return QKVRecord(q, k, v, replace(modifiers[0], terms=terms, sinks=sinks))


def _as_interval(layer: QKVRecord, n_k: int, offset: int) -> IntervalMask | None:
    """The keys of the whole text that a pass's queries see; None if not one range a row."""
    n_q = layer.shape[2]
    masks = [mask for t in layer.modifiers.terms if (mask := t.as_interval) is not None]
    if len(masks) > 1:
        return None
    if not masks:
        lo = torch.full((1, n_q), offset, device=layer.q.device)
        return IntervalMask(lo, lo + n_k, -torch.inf)
    return masks[0].shifted(offset, n_k)


def _concat_rows(masks: Sequence[IntervalMask]) -> IntervalMask:
    B = max(len(mask.lo) for mask in masks)
    lo = torch.cat([mask.lo.expand(B, -1) for mask in masks], dim=1)
    hi = torch.cat([mask.hi.expand(B, -1) for mask in masks], dim=1)
    return IntervalMask(lo, hi, min(mask.fill for mask in masks))


def _dense(
    layers: Sequence[QKVRecord],
    passes: Sequence[Pass],
    offsets: Sequence[int],
    n_k: int,
    masks: bool,
) -> Tensor:
    """(B, H, n_q, n_k): the masks of all passes, or their biases, as one tensor."""
    rows = []
    for layer, p, offset in zip(layers, passes, offsets, strict=True):
        B, H, n_q, _ = layer.shape
        total = torch.zeros(B, H, n_q, p.n_k, device=layer.q.device)
        for term in layer.modifiers.terms:
            if (term.as_interval is not None) == masks:
                for b in range(B):
                    term.add_to(total[b], b, slice(0, H), slice(0, n_q), slice(0, p.n_k))
        outside = -torch.inf if masks else 0.0
        rows.append(F.pad(total, (offset, n_k - p.n_k - offset), value=outside))
    return torch.cat(rows, dim=2)


def _merge_dense(passes: Sequence[Pass], adds_keys: bool) -> WeightsRecord:
    layers = [p.call.layer for p in passes if isinstance(p.call.layer, WeightsRecord)]
    offsets = _offsets(passes, adds_keys)
    n_k = max(offset + p.n_k for offset, p in zip(offsets, passes, strict=True))
    rows = [
        F.pad(x.values, (offset, n_k - p.n_k - offset))
        for x, p, offset in zip(layers, passes, offsets, strict=True)
    ]
    values = [x.v for x in layers if x.v is not None]
    v = _all_keys(values, passes, adds_keys) if len(values) == len(layers) else None
    return WeightsRecord(torch.cat(rows, dim=2), None, None, None, v)
