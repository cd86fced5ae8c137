"""The head that a text opens on where neither a link nor an example says which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.analysis.heads import all_baselines
from attnviz.analysis.roles import most_structured
from attnviz.ui.explore.head_grid import layer_grid

if TYPE_CHECKING:
    from attnviz.ui.model_page import PageTrace

MOST_WEIGHTS = 64_000_000  # of all heads together: read in about a second


def first_head(page: PageTrace) -> tuple[int, int] | None:
    """The most structured head of a short text; None for a long one, whose metrics take a while."""
    trace = page.trace
    layers = [layer for layer in trace.layers if layer.source != "refused"]
    if sum(layer.n_heads * layer.n_q * layer.n_k for layer in layers) > MOST_WEIGHTS:
        return None
    metrics = [one for i in layers for one in layer_grid(trace, i.index, page.report).metrics]
    uniform = [one for heads in all_baselines(trace).values() for one in heads]
    best = most_structured(metrics, uniform)
    return None if best is None else (best.layer, best.head)
