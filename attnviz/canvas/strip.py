"""The text, token by token, each token tinted by a number of one head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from attnviz.analysis.arrays import as_numpy
from attnviz.analysis.heads import TokenMetrics, token_metrics
from attnviz.canvas import wire
from attnviz.canvas.codecs import MASKED, FixedPoint, SignificantDigits
from attnviz.canvas.interaction import TokenRef
from attnviz.canvas.memo import Memo, uncached
from attnviz.canvas.naming import (
    MAX_CHARACTERS,
    col_axis,
    layer_name,
    row_axis,
    text_axis,
    token_names,
    trace_id,
)
from attnviz.models.tokens import Token, display_text
from attnviz.trace import AttentionMap, Trace
from attnviz.trace.structure import Kind

TokenMeasure = Literal["received", "sent", "entropy"]

BITS = FixedPoint(decimals=3, low=0)  # thousandths of a bit, up to 65 bits


class OddToken(TypedDict):
    """A token whose name is not simply its text.

    at: its index. text: in the source. bytes: as hexadecimal. unknown: to the vocabulary.
    """

    at: int
    text: str
    bytes: str
    unknown: bool


@dataclass(frozen=True)
class TextSection:
    """One text, as it is sent.

    Attributes:
        axis: the text's id, the same on every canvas that shows it.
        side: whether its tokens are addressed as rows or as columns; None if the head doesn't read
            this text.
        names: its tokens. written: the first generated token, or None.
        queries: the token that is query 0, or None if its tokens aren't queries.
        keys: whether its tokens are keys.
        ids: of its tokens. odd: those whose name is not simply their text.
    """

    title: str
    axis: str
    side: Literal["row", "col"] | None
    names: tuple[str, ...]
    written: int | None = None
    queries: int | None = None
    keys: bool = False
    ids: tuple[int, ...] = ()
    odd: tuple[OddToken, ...] = ()

    @classmethod
    def of(
        cls,
        title: str,
        axis: str,
        side: Literal["row", "col"] | None,
        tokens: Sequence[Token],
        written: int | None = None,
        queries: int | None = None,
        keys: bool = False,
    ) -> TextSection:
        """The section of these tokens."""
        names, ids = token_names(tokens), tuple(token.id for token in tokens)
        odd = tuple(_odd(i, t) for i, t in enumerate(tokens) if names[i] != t.text)
        return cls(title, axis, side, names, written, queries, keys, ids, odd)


@dataclass(frozen=True)
class StripPayload:
    """Texts, and numbers for all of their tokens, section after section.

    Attributes:
        measure: which number tints the tokens at first.
        focus: ("row" | "col", index) of the focused token.
        helps: the definition of each number, by its name.
        codes: (tokens,) uint16 by name: ``received``, ``sent``, ``entropy`` and, with a focus,
            ``from`` and ``to`` it; ``MASKED`` where a number is undefined or a key is masked.
    """

    id: str
    title: str
    kind: Kind
    sections: tuple[TextSection, ...]
    measure: TokenMeasure
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
    measure: TokenMeasure = "received",
    item: int = 0,
    memo: Memo = uncached,
) -> StripPayload:
    """One head's numbers for every token.

    ``received`` is the mean weight of a key over the queries that may attend to it; ``sent`` is the
    weight that a query puts on other tokens than itself; ``entropy`` is that of its row.

    Args:
        focus: a token whose own weights are shown: ``w[focus, j]`` on each token, and
            ``w[i, focus]`` of each token. In self-attention a query and a key of the same index are
            one token. A token that this head doesn't have is ignored.
        start: the first generated token, of the target if there is one.
        measure: which of the numbers tints the tokens at first.
        item: which text of a batch.
        memo: caches the numbers.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    a = trace.attention(layer, head, item=item)
    metrics = memo(("tokens", layer, head, item), lambda: token_metrics(trace, layer, head, item))
    sections = text_sections(trace, layer, start, item)
    at = _focused(sections, focus)
    codes = _metric_codes(sections, metrics)
    if at is not None:
        codes |= memo(("focus", layer, head, item, at), lambda: _focus_codes(a, sections, at))
    return StripPayload(
        id=f"{trace_id(trace)}/{layer}/{head}/{item}",
        title=f"{layer_name(trace, layer)}, head {head}: tokens",
        kind=trace.layers[layer].kind,
        sections=sections,
        measure=measure,
        focus=at,
        helps=token_helps(metrics.n_visible is not None, metrics.sent is not None),
        codes=codes,
    )


def _odd(at: int, token: Token) -> OddToken:
    raw = token.raw or token.shown.encode("utf-8", "replace").hex(" ").upper()
    return {
        "at": at,
        "text": display_text(token.text)[:MAX_CHARACTERS],
        "bytes": "" if token.unknown else raw[:MAX_CHARACTERS],
        "unknown": token.unknown,
    }


def text_sections(
    trace: Trace, layer: int, start: int | None, item: int
) -> tuple[TextSection, ...]:
    """The source above the target, or the one text there is."""
    shown = trace.layers[layer]
    rows, cols = trace.row_tokens(layer, item), trace.col_tokens(layer, item)
    of_rows, of_cols = row_axis(trace, layer, item).id, col_axis(trace, layer, item).id
    if shown.kind == "cross":
        source = TextSection.of("Source", of_cols, "col", cols, keys=True)
        return source, TextSection.of("Target", of_rows, "row", rows, start, queries=0)
    offset = shown.n_k - shown.n_q  # of a continued text only the last tokens are queries
    if not trace.target_tokens:
        return (TextSection.of("Text", of_cols, "row", cols, start, queries=offset, keys=True),)
    if shown.kind == "encoder":
        source = TextSection.of("Source", of_cols, "row", cols, queries=offset, keys=True)
        other = text_axis(trace, "target", item)
        return source, TextSection.of("Target", other, None, trace.target_tokens, start)
    target = TextSection.of("Target", of_cols, "row", cols, start, queries=offset, keys=True)
    other = text_axis(trace, "source", item)
    return TextSection.of("Source", other, None, trace.tokens), target


def _focused(
    sections: tuple[TextSection, ...], focus: TokenRef | None
) -> tuple[Literal["row", "col"], int] | None:
    """The focus, if this head has the token."""
    if focus is None:
        return None
    sides = {s.side: len(s.names) for s in sections if s.side is not None}
    side = focus.side if "col" in sides else "row"
    return (side, focus.index) if 0 <= focus.index < sides[side] else None


def _metric_codes(
    sections: tuple[TextSection, ...], metrics: TokenMetrics
) -> dict[str, np.ndarray]:
    """Codes of the numbers that don't depend on a focus."""
    weight = SignificantDigits()
    received = _mean_weights(metrics)
    sent = None if metrics.sent is None else weight.encode(_float64(metrics.sent))
    return {
        "received": _over_sections(sections, keys=weight.encode(received, np.isnan(received))),
        "sent": _over_sections(sections, queries=sent),
        "entropy": _over_sections(sections, queries=BITS.encode(_float64(metrics.entropy))),
    }


def _mean_weights(metrics: TokenMetrics) -> np.ndarray:
    """(n_k,) mean weight of each key over the queries that may attend to it; nan without any."""
    received = _float64(metrics.received)
    count = (
        np.full_like(received, len(metrics.entropy))
        if metrics.n_visible is None
        else _float64(metrics.n_visible)
    )
    return np.divide(received, count, out=np.full_like(received, np.nan), where=count > 0)


def _focus_codes(
    a: AttentionMap, sections: tuple[TextSection, ...], at: tuple[Literal["row", "col"], int]
) -> dict[str, np.ndarray]:
    """A token's own weights: its row if it is a query, its column if it is a key."""
    side, index = at
    own = next(section for section in sections if section.side == side)
    query = None if own.queries is None else index - own.queries
    row = col = None
    if query is not None and query >= 0:
        row = _weights(a, slice(query, query + 1), slice(None))
    if own.keys:
        col = _weights(a, slice(None), slice(index, index + 1))
    return {"from": _over_sections(sections, keys=row), "to": _over_sections(sections, queries=col)}


def _weights(a: AttentionMap, rows: slice, cols: slice) -> np.ndarray:
    """Codes of one row or one column."""
    w = _float64(a.weights(rows, cols)).ravel()
    hidden = a.masked(rows, cols)
    if hidden is None:
        return SignificantDigits().encode(w)
    return SignificantDigits().encode(w, hidden.cpu().numpy().ravel() & (w == 0))


def _over_sections(
    sections: tuple[TextSection, ...],
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


def token_helps(mask_known: bool = True, own_keys: bool = True) -> dict[str, str]:
    """The definition of each number.

    Args:
        mask_known: whether the layer's mask is. own_keys: whether queries are among the keys.
    """
    among = "the queries that can attend to it" if mask_known else "all queries"
    sent = "In cross-attention, click a source token to see which queries attend to it."
    if own_keys:
        sent = "Total weight a query puts on other tokens: Σ w[i, j] over j ≠ i"
    return {
        "from": "Weight that the selected token's query puts on each token",
        "to": "Weight that each token's query puts on the selected token",
        "received": f"Mean weight on each key, over {among}",
        "sent": sent,
        "entropy": "Entropy of a query's weights: -Σ w log2 w, in bits; 0 is one token",
    }


def _float64(tensor: Tensor) -> np.ndarray:
    return as_numpy(tensor, torch.float64)
