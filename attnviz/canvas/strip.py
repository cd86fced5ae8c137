"""The text itself, token by token, each tinted by what a head does with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from attnviz.analysis.heads import TokenMetrics, token_metrics
from attnviz.canvas import wire
from attnviz.canvas.codecs import MASKED, FixedPoint, SignificantDigits
from attnviz.canvas.interaction import TokenRef
from attnviz.canvas.memo import Memo, uncached
from attnviz.canvas.naming import layer_name, token_names, trace_id
from attnviz.models.tokens import Token
from attnviz.trace import AttentionMap, Trace
from attnviz.trace.structure import Kind

Measure = Literal["received", "sent", "entropy"]

BITS = FixedPoint(decimals=3, low=0)  # thousandths of a bit, up to 65 bits


@dataclass(frozen=True)
class Section:
    """One text.

    Attributes:
        side: how its tokens are addressed; None if the head has nothing to do with this text.
        names: its tokens. written: the first token that the model wrote, or None.
        queries: the token that is query 0, or None if its tokens aren't queries.
        keys: whether its tokens are keys.
    """

    title: str
    side: Literal["row", "col"] | None
    names: tuple[str, ...]
    written: int | None = None
    queries: int | None = None
    keys: bool = False


@dataclass(frozen=True)
class StripPayload:
    """Texts, and numbers for all of their tokens, section after section.

    Attributes:
        measure: which number tints the tokens at first.
        focus: ("row" | "col", index) of the focused token.
        helps: what each number says, exactly, by its name.
        codes: (tokens,) uint16 by name: ``received``, ``sent``, ``entropy`` and, with a focus,
            ``from`` and ``to`` it; masked where a number has no meaning or no weight is allowed.
    """

    id: str
    title: str
    kind: Kind
    sections: tuple[Section, ...]
    measure: Measure
    focus: tuple[Literal["row", "col"], int] | None
    helps: dict[str, str]
    codes: dict[str, np.ndarray]

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        header = {
            "mode": "strip",
            "id": self.id,
            "title": self.title,
            "kind": self.kind,
            "sections": [vars(section) for section in self.sections],
            "measure": self.measure,
            "focus": self.focus,
            "helps": self.helps,
            "weights": SignificantDigits().header(),
            "bits": BITS.header(),
        }
        return wire.pack({**header, **display}, self.codes)


def strip_payload(
    trace: Trace,
    layer: int,
    head: int,
    *,
    focus: TokenRef | None = None,
    start: int | None = None,
    measure: Measure = "received",
    item: int = 0,
    memo: Memo = uncached,
) -> StripPayload:
    """One head's numbers for every token.

    ``received`` is the mean weight that a key gets from the queries that may look at it;
    ``sent`` is what a query gives to other tokens than itself; ``entropy`` is that of its row.

    Args:
        focus: a token whose own weights are shown: ``w[focus, j]``, what it gives to each token,
            and ``w[i, focus]``, what each gives to it. In self-attention a query and a key of the
            same index are one token. A token that this head doesn't have counts as None.
        start: the first token that the model wrote, of the target if there is one.
        measure: which of the numbers tints the tokens until a person chooses another.
        memo: where the numbers are kept.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    a = trace.attention(layer, head, item=item)
    found = memo(("tokens", layer, head, item), lambda: token_metrics(trace, layer, head, item))
    sections = _sections(trace, layer, start, item)
    at = _focused(sections, focus)
    numbers = _mean_weights(found)
    codes = {
        "received": _spread(sections, keys=SignificantDigits().encode(numbers, np.isnan(numbers))),
        "sent": _spread(sections),
        "entropy": _spread(sections, queries=BITS.encode(_numpy(found.entropy))),
    }
    if found.sent is not None:
        codes["sent"] = _spread(sections, queries=SignificantDigits().encode(_numpy(found.sent)))
    if at is not None:
        codes |= memo(("around", layer, head, item, at), lambda: _around(a, sections, at))
    return StripPayload(
        id=f"{trace_id(trace)}/{layer}/{head}/{item}",
        title=f"{layer_name(trace, layer)}, head {head}: tokens",
        kind=trace.layers[layer].kind,
        sections=sections,
        measure=measure,
        focus=at,
        helps=_helps(found),
        codes=codes,
    )


def _sections(trace: Trace, layer: int, start: int | None, item: int) -> tuple[Section, ...]:
    """The source above the target, whichever of them this layer looks at."""
    shown = trace.layers[layer]
    rows, cols = trace.row_tokens(layer, item), trace.col_tokens(layer, item)
    if shown.kind == "cross":
        source = Section("Source", "col", _names(cols), keys=True)
        return source, Section("Target", "row", _names(rows), start, queries=0)
    offset = shown.n_k - shown.n_q  # a continued text: its last tokens are the queries
    if not trace.target_tokens:
        return (Section("Text", "row", _names(cols), start, queries=offset, keys=True),)
    if shown.kind == "encoder":
        source = Section("Source", "row", _names(cols), queries=offset, keys=True)
        return source, Section("Target", None, _names(trace.target_tokens), start)
    target = Section("Target", "row", _names(cols), start, queries=offset, keys=True)
    return Section("Source", None, _names(trace.tokens)), target


def _focused(
    sections: tuple[Section, ...], focus: TokenRef | None
) -> tuple[Literal["row", "col"], int] | None:
    """The focus, if there is such a token."""
    if focus is None:
        return None
    sides = {s.side: len(s.names) for s in sections if s.side is not None}
    side = focus.side if "col" in sides else "row"
    return (side, focus.index) if 0 <= focus.index < sides[side] else None


def _mean_weights(found: TokenMetrics) -> np.ndarray:
    """(n_k,) mean weight of the queries that may look at each key; nan where none may."""
    received = _numpy(found.received)
    count = np.full_like(received, len(found.entropy)) if found.seen is None else _numpy(found.seen)
    return np.divide(received, count, out=np.full_like(received, np.nan), where=count > 0)


def _around(
    a: AttentionMap, sections: tuple[Section, ...], at: tuple[Literal["row", "col"], int]
) -> dict[str, np.ndarray]:
    """A token's own weights: what it gives (if it is a query) and what it gets (if it is a key)."""
    side, index = at
    own = next(section for section in sections if section.side == side)
    query = None if own.queries is None else index - own.queries
    row = col = None
    if query is not None and query >= 0:
        row = _weights(a, slice(query, query + 1), slice(None))
    if own.keys:
        col = _weights(a, slice(None), slice(index, index + 1))
    return {"from": _spread(sections, keys=row), "to": _spread(sections, queries=col)}


def _weights(a: AttentionMap, rows: slice, cols: slice) -> np.ndarray:
    """Codes of one row or one column."""
    w = _numpy(a.weights(rows, cols)).ravel()
    hidden = a.masked(rows, cols)
    if hidden is None:
        return SignificantDigits().encode(w)
    return SignificantDigits().encode(w, hidden.cpu().numpy().ravel() & (w == 0))


def _spread(
    sections: tuple[Section, ...],
    keys: np.ndarray | None = None,
    queries: np.ndarray | None = None,
) -> np.ndarray:
    """(tokens,) codes of keys or of queries, over all sections; masked elsewhere."""
    parts = []
    for section in sections:
        part = np.full(len(section.names), MASKED, np.uint16)
        if keys is not None and section.keys:
            part[:] = keys
        if queries is not None and section.queries is not None:
            part[section.queries :] = queries
        parts.append(part)
    return np.concatenate(parts)


def _helps(found: TokenMetrics) -> dict[str, str]:
    among = "all queries" if found.seen is None else "the queries that may look at it"
    sent = "No query of cross-attention is among its keys: focus a source token to see who looks."
    if found.sent is not None:
        sent = "what a query gives to other tokens than itself: Σ w[i, j] over j ≠ i"
    return {
        "from": "weight that the focused token's query puts on each token",
        "to": "weight that each token's query puts on the focused token",
        "received": f"mean weight on a key, of {among}",
        "sent": sent,
        "entropy": "-Σ w log2 w of a query's row, in bits: 0 looks at one token",
    }


def _names(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(token_names(tokens))


def _numpy(t: Tensor) -> np.ndarray:
    return t.double().cpu().numpy()
