"""From attention calls to layers: some modules make one layer's attention in several calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from attnviz.trace.compute import LayerRecord, QKVRecord
from attnviz.trace.edited import EditedRecord, HeadChange

if TYPE_CHECKING:
    from attnviz.trace.recorder import Call


def belongs_to(call: Call, module: nn.Module, query: Tensor, key: Tensor) -> bool:
    """Whether a module's next call, with this Q and K, goes on with the layer of its last one.

    DiffLlama multiplies the same weights with the two halves of its values, one after the other.
    """
    layer = call.layer
    if call.module is not module or not isinstance(layer, QKVRecord | EditedRecord):
        return False
    return _same(layer.q, query) and _same(layer.k, key)


def group_calls(calls: Sequence[Call], length: int | None) -> list[Call]:
    """The layers that a block's calls amount to.

    Calls that share Q and K are one layer with their values side by side. Where a module's calls
    could not all be kept, or are dense and of several shapes, one among them may cover the whole
    text (ProphetNet's main stream) and speaks for the layer; if none does, they are pieces of a
    sparse layout and the layer is refused as a whole.

    Args:
        length: how many positions entered the block; None if that is not known.
    """
    layers: list[Call] = []
    for call in calls:
        last = layers[-1] if layers else None
        if last is not None and _continues(last, call):
            layers[-1] = _joined(last, call)
        else:
            layers.append(call)
    layers = [_checked(call, length) for call in layers]
    out: list[Call] = []
    done: set[tuple[int, int]] = set()
    for call in layers:
        pieces = [c for c in layers if c.module is call.module and c.run == call.run]
        shapes = {c.layer.shape for c in pieces if c.layer is not None}
        kept = all(c.layer is not None for c in pieces)
        if kept and (len(shapes) == 1 or all(c.source == "exact" for c in pieces)):
            out.append(call)
        elif (id(call.module), call.run) not in done:
            done.add((id(call.module), call.run))
            out.append(next((c for c in pieces if _whole(c, length)), _refused(pieces)))
    return out


def _whole(call: Call, length: int | None) -> bool:
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


def _checked(call: Call, length: int | None) -> Call:
    """Refuses windows that do not split the positions among them: they are parts of a whole.

    (A stage may pool its positions on the way, so theirs may be a fraction of what entered it.)
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
    return belongs_to(last, call.module, layer.q, layer.k)


def _joined(first: Call, second: Call) -> Call:
    """One layer whose values are those of both, side by side."""
    a, b = first.layer, second.layer
    assert isinstance(a, QKVRecord | EditedRecord) and isinstance(b, QKVRecord | EditedRecord)
    own = None
    if first.own is not None and second.own is not None:
        own = torch.cat([first.own, second.own], dim=-1)
    base = replace(_base(a), v=torch.cat([a.v, b.v], dim=-1))
    layer: LayerRecord = base
    if isinstance(a, EditedRecord) and isinstance(b, EditedRecord):
        pairs = zip(a.changes, b.changes, strict=True)
        layer = EditedRecord(base, tuple(_both(x, y) for x, y in pairs))
    asked = None
    if first.asked is not None and second.asked is not None:
        asked = first.asked.beside(second.asked)
    return replace(first, layer=layer, own=own, asked=asked, checks=first.checks & second.checks)


def _both(a: HeadChange, b: HeadChange) -> HeadChange:
    if a.output is None or b.output is None:
        return a
    return replace(a, output=torch.cat([a.output, b.output], dim=-1))


def _base(layer: QKVRecord | EditedRecord) -> QKVRecord:
    return layer.base if isinstance(layer, EditedRecord) else layer


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same place in memory."""
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
