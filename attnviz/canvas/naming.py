"""Names of traces, layers and tokens on a canvas."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence

from attnviz.models.tokens import Token, display_text
from attnviz.trace import Trace

MAX_CHARACTERS = 80  # of one token, more than an axis or a tooltip shows


def token_names(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Tokens as a canvas draws them: text, never HTML."""
    return tuple(display_text(token.text)[:MAX_CHARACTERS] for token in tokens)


def layer_name(trace: Trace, layer: int) -> str:
    """ "Layer 3"; where a model has several kinds of attention, "Cross layer 1"."""
    kind = trace.layers[layer].kind
    if all(other.kind == kind for other in trace.layers):
        return f"Layer {layer}"
    index = sum(other.kind == kind for other in trace.layers[:layer])
    return f"{kind.capitalize()} layer {index}"


def trace_id(trace: Trace) -> str:
    """A name of the trace that is unique in this process."""
    if trace not in _IDS:
        _IDS[trace] = f"t{next(_COUNT)}"
    return _IDS[trace]


_COUNT = itertools.count(1)
_IDS: weakref.WeakKeyDictionary[Trace, str] = weakref.WeakKeyDictionary()
