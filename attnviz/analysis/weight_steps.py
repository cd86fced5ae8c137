"""Where one weight of a trace comes from: the arithmetic from q and k to a share of the output.

Of a layer in the Layer lab, whose every step is recorded, `attnviz.analysis.cell_steps` has all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import LayerRecord
from attnviz.trace.tile_math import upcast


@dataclass(frozen=True)
class WeightSteps:
    """One cell of a head's map, from the model's own q, k and v.

    ``dot * scaling == scaled``; capped, where there is a softcap; ``+ added + edited`` gives
    ``score``; ``exp(score - highest) / total == weight``: each up to rounding.

    Attributes:
        masked: whether the query may not see the key; its weight is then 0.
        added: what biases and masks add to the score. edited: what edits add; 0.0 if nothing.
        highest: the row's largest score.
        total: the row's sum of exp(score - highest), with a sink's.
        rank: 1 for the largest weight of the row.
        share: of the head's output at this query: the part of ``weight * v`` along the output,
            over the output's length; the shares of a row add up to 1. None for an output of 0.
    """

    dot: float
    scaling: float
    scaled: float
    softcap: float | None
    capped: float | None
    added: float
    edited: float
    score: float
    masked: bool
    highest: float
    total: float
    weight: float
    rank: int
    share: float | None


def weight_steps(
    trace: Trace, layer: int, head: int, query: int, key: int, item: int = 0
) -> WeightSteps:
    """The arithmetic of one cell, in float64 from the recorded q and k.

    The weight is the trace's own.

    Raises:
        AttnVizError: no such layer, head or cell, or a layer whose scores are not known.
    """
    a = trace.attention(layer, head, item=item)
    if not (0 <= query < a.n_q and 0 <= key < a.n_k):
        raise AttnVizError(
            f"There is no cell ({query}, {key}) in a map of {a.n_q} x {a.n_k}.",
            "Count queries and keys from 0.",
        )
    record = trace.layer_record(layer, item)
    modifiers = _modifiers(record)
    rows, heads = slice(query, query + 1), slice(head, head + 1)
    q, k = upcast(a.q[query]).double(), upcast(a.k[key]).double()
    dot = float(q @ k)
    scaled = dot * modifiers.scaling
    capped = None
    if modifiers.softcap is not None:
        capped = modifiers.softcap * math.tanh(scaled / modifiers.softcap)
    scores = record.scores(item, heads, rows, slice(0, a.n_k))[0, 0].double()
    hidden = a.masked(rows, slice(key, key + 1))
    masked = hidden is not None and bool(hidden)
    w = a.weights(rows)[0].double()
    highest = float(scores.max())
    total = 0.0 if highest == -torch.inf else float((scores - highest).exp().sum())
    weight, score = float(w[key]), float(scores[key])
    sink = modifiers.sink_scores(item, heads, rows)
    if sink is not None and not modifiers.sink_gates_output:
        total += float((sink.double() - highest).exp())
    return WeightSteps(
        dot=dot,
        scaling=modifiers.scaling,
        scaled=scaled,
        softcap=modifiers.softcap,
        capped=capped,
        added=_added(record, modifiers, item, heads, rows, slice(key, key + 1)),
        edited=_edited(record, item, heads, rows, key, score),
        score=score,
        masked=masked,
        highest=highest,
        total=total,
        weight=weight,
        rank=int((w > w[key]).sum()) + 1,
        share=_share(w, upcast(a.v).double(), key),
    )


def _modifiers(record: LayerRecord) -> ScoreModifiers:
    if record.modifiers is None:
        raise AttnVizError(
            "This layer's scores are computed inside its module and are not available.",
            "Look at its weights, which the module returns.",
        )
    return record.modifiers


def _share(w: Tensor, values: Tensor, key: int) -> float | None:
    """A key's share of the output of weights (n_k,) and values (n_k, d_v)."""
    out = w @ values  # (d_v,)
    length = float(out @ out)
    return float(w[key] * (values[key] @ out)) / length if length else None


def _added(
    record: LayerRecord,
    modifiers: ScoreModifiers,
    item: int,
    heads: slice,
    rows: slice,
    cols: slice,
) -> float:
    """What biases and masks add to a cell's score."""
    cell = torch.zeros(1, 1, 1, device=record.device)
    for term in modifiers.terms:
        term.add_to(cell, item, heads, rows, cols)
    return float(cell)


def _edited(
    record: LayerRecord,
    item: int,
    heads: slice,
    rows: slice,
    key: int,
    score: float,
) -> float:
    """What edits add to a cell's score."""
    if record.unedited is record:
        return 0.0
    return score - float(record.unedited.scores(item, heads, rows, slice(key, key + 1)))
