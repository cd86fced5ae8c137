"""Names of traces, layers and tokens on a canvas."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from attnviz.models.tokens import Token, display_text
from attnviz.trace import Trace

MAX_CHARACTERS = 80  # of one token, more than an axis or a tooltip shows
TEXT_START = 60  # characters of a text in the source of a picture


def token_names(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Tokens as a canvas draws them: text, never HTML."""
    return tuple(display_text(token.shown)[:MAX_CHARACTERS] for token in tokens)


def layer_name(trace: Trace, layer: int) -> str:
    """ "Layer 3"; where a model has several kinds of attention, "Cross layer 1"."""
    kind = trace.layers[layer].kind
    if all(other.kind == kind for other in trace.layers):
        return f"Layer {layer}"
    index = sum(other.kind == kind for other in trace.layers[:layer])
    return f"{kind.capitalize()} layer {index}"


@dataclass(frozen=True)
class TextAxis:
    """The text or image along a map's rows or columns; canvases with the same one share hover.

    Attributes:
        id: of the tokens. start: which of them is at index 0.
    """

    id: str
    start: int = 0

    def header(self) -> tuple[str, int]:
        """For the browser."""
        return self.id, self.start


def text_axis(trace: Trace, text: str, item: int = 0) -> str:
    """The id of "source" or "target", of the image, or of whatever else a layer's tokens are."""
    return f"{trace_id(trace)}/{item}/{text}"


def row_axis(trace: Trace, layer: int, item: int = 0) -> TextAxis:
    """The tokens of a layer's queries: of a continued text, the last of its keys."""
    shown = trace.layers[layer]
    start = shown.n_k - shown.n_q if shown.rows == shown.cols else 0
    return TextAxis(text_axis(trace, _own(shown.rows, shown.n_k, layer), item), start)


def col_axis(trace: Trace, layer: int, item: int = 0) -> TextAxis:
    """The tokens of a layer's keys."""
    shown = trace.layers[layer]
    return TextAxis(text_axis(trace, _own(shown.cols, shown.n_k, layer), item))


def _own(axis: str, n: int, layer: int) -> str:
    """The axis with its layer or its number of patches, where positions differ between layers."""
    return {"number": f"number/{layer}", "image": f"image/{n}"}.get(axis, axis)


def source_line(trace: Trace, model: str = "") -> str:
    """What a picture is of: the model's name and the start of the text, or of both texts."""
    starts = [text_start(tokens) for tokens in (trace.tokens, trace.target_tokens)]
    return " · ".join(part for part in (model, " → ".join(filter(None, starts))) if part)


def text_start(tokens: Sequence[Token], most: int = TEXT_START) -> str:
    """The start of a text in quotation marks; empty for an image."""
    text = display_text("".join(token.text for token in tokens if not token.special)).strip()
    if not text:
        return ""
    return f"“{text[:most]}…”" if len(text) > most else f"“{text}”"


def trace_id(trace: Trace) -> str:
    """A name of the trace that is unique in this process."""
    if trace not in _IDS:
        _IDS[trace] = f"t{next(_COUNT)}"
    return _IDS[trace]


_COUNT = itertools.count(1)
_IDS: weakref.WeakKeyDictionary[Trace, str] = weakref.WeakKeyDictionary()
