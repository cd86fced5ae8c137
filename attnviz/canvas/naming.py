"""Names for what a canvas shows: traces, and tokens on its axes."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence

from attnviz.models.tokens import Token, display_text
from attnviz.trace import Trace

LONGEST = 80  # characters of one token that are sent; more than an axis or a tooltip shows


def token_names(tokens: Sequence[Token]) -> list[str]:
    """Tokens as they are written on a canvas. They are text there and never HTML."""
    return [display_text(token.text)[:LONGEST] for token in tokens]


def layer_name(trace: Trace, layer: int) -> str:
    """ "Layer 3"; where a model has several kinds of attention, "Cross layer 1"."""
    kind = trace.layers[layer].kind
    if all(other.kind == kind for other in trace.layers):
        return f"Layer {layer}"
    place = sum(other.kind == kind for other in trace.layers[:layer])
    return f"{kind.capitalize()} layer {place}"


def trace_id(trace: Trace) -> str:
    """A name for a trace that no other trace of this process has."""
    if trace not in _IDS:
        _IDS[trace] = f"t{next(_COUNT)}"
    return _IDS[trace]


_COUNT = itertools.count(1)
_IDS: weakref.WeakKeyDictionary[Trace, str] = weakref.WeakKeyDictionary()
