"""From attention calls to layers: some modules compute one layer's attention in several calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnviz.trace.call import Call
from attnviz.trace.edited import EditedRecord, HeadChange
from attnviz.trace.records import LayerRecord, QKVRecord


def continues_layer(call: Call, module: nn.Module, query: Tensor, key: Tensor) -> bool:
    """Whether a module's next call, with this Q and K, continues the layer of ``call``.

    DiffLlama multiplies the same weights with the two halves of its values, one after the other.
    """
    layer = call.layer
    if call.module is not module or not isinstance(layer, QKVRecord | EditedRecord):
        return False
    return _same_tensor(layer.q, query) and _same_tensor(layer.k, key)


def group_calls(calls: Sequence[Call], length: int | None) -> list[Call]:
    """The calls of a block as layers, one call each.

    Calls that share Q and K are one layer with their values side by side. Where some calls of a
    module were refused, or are dense and differ in shape, one of them may cover the whole text
    (ProphetNet's main stream) and stands for the layer; if none does, they are pieces of a sparse
    layout and the layer is refused.

    Args:
        length: how many positions entered the block; None if that is unknown.
    """
    layers: list[Call] = []
    for call in calls:
        last = layers[-1] if layers else None
        if last is not None and _continues(last, call):
            layers[-1] = _concat_values(last, call)
        else:
            layers.append(call)
    layers = [_refuse_overlapping_windows(call, length) for call in layers]
    grouped: list[Call] = []
    done: set[tuple[int, int]] = set()
    for call in layers:
        pieces = [c for c in layers if c.module is call.module and c.run == call.run]
        shapes = {c.layer.shape for c in pieces if c.layer is not None}
        complete = all(c.layer is not None for c in pieces)
        if complete and (len(shapes) == 1 or all(c.source == "exact" for c in pieces)):
            grouped.append(call)
        elif (id(call.module), call.run) not in done:
            done.add((id(call.module), call.run))
            whole = (c for c in pieces if _covers_text(c, length))
            grouped.append(next(whole, _refused(pieces)))
    return grouped


def _covers_text(call: Call, length: int | None) -> bool:
    """Whether a call has every position of the text among its queries and its keys."""
    if call.layer is None or call.windows > 1:
        return False
    n_q, n_k = call.layer.shape[2:]
    return n_q == n_k and (length is None or length % n_q == 0)


def _refused(pieces: Sequence[Call]) -> Call:
    """A layer of which only pieces were seen."""
    refused = next((c for c in pieces if c.layer is None), None)
    if refused is not None:
        return refused
    reason = f"its attention is made in {len(pieces)} pieces (a sparse layout)"
    return replace(pieces[0], layer=None, own=None, source="refused", reason=reason)


def _refuse_overlapping_windows(call: Call, length: int | None) -> Call:
    """Refuses windows that don't partition the positions: they are parts of one softmax.

    A stage may pool its positions before attention, so theirs may be a fraction of ``length``.
    """
    if call.layer is None or call.windows == 1:
        return call
    if length is not None and length % (call.windows * call.layer.shape[3]) == 0:
        return call
    reason = f"its weights are laid out in {call.windows} overlapping blocks"
    return replace(call, layer=None, own=None, source="refused", reason=reason)


def _continues(last: Call, call: Call) -> bool:
    layer = call.layer
    if not isinstance(layer, QKVRecord | EditedRecord):
        return False
    return continues_layer(last, call.module, layer.q, layer.k)


def _concat_values(first: Call, second: Call) -> Call:
    """One layer whose values are those of both calls, side by side."""
    a, b = first.layer, second.layer
    assert isinstance(a, QKVRecord | EditedRecord) and isinstance(b, QKVRecord | EditedRecord)
    own = None
    if first.own is not None and second.own is not None:
        own = torch.cat([first.own, second.own], dim=-1)
    base = replace(a.unedited, v=torch.cat([a.v, b.v], dim=-1))
    layer: LayerRecord = base
    if isinstance(a, EditedRecord) and isinstance(b, EditedRecord):
        pairs = zip(a.changes, b.changes, strict=True)
        layer = EditedRecord(base, tuple(_concat_outputs(x, y) for x, y in pairs))
    probe = None
    if first.probe is not None and second.probe is not None:
        probe = first.probe.concat(second.probe)
    return replace(first, layer=layer, own=own, probe=probe, checks=first.checks & second.checks)


def _concat_outputs(a: HeadChange, b: HeadChange) -> HeadChange:
    if a.output is None or b.output is None:
        return a
    return replace(a, output=torch.cat([a.output, b.output], dim=-1))


def _same_tensor(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same memory in the same shape."""
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
