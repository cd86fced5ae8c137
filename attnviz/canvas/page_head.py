"""One head as a page of its own, without the trace it is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from attnviz.canvas.bundle import Theme
from attnviz.canvas.naming import token_names
from attnviz.canvas.page_file import FLOAT32_NOTE, layer_entry, page_file, receipt_entry, text_entry
from attnviz.canvas.page_image import image_entry
from attnviz.canvas.page_layers import layer_numbers
from attnviz.canvas.strip import TextSection, token_helps
from attnviz.canvas.tensor_store import TensorStore
from attnviz.trace.axis_labels import numbered_tokens
from attnviz.trace.fidelity import receipt

if TYPE_CHECKING:
    from attnviz.models.tokens import Token
    from attnviz.trace import AttentionMap
    from attnviz.trace.attention_map import MapOrigin
    from attnviz.trace.records import LayerRecord


def head_html(a: AttentionMap, *, title: str = "", theme: Theme = "system") -> str:
    """One head as an HTML page: its map, scores, lines, neuron view and vectors, in float32.

    Args:
        title: of the page. theme: of colors.
    """
    return page_file(*_head_index(a, title), theme)


def _head_index(a: AttentionMap, title: str) -> tuple[dict[str, Any], TensorStore]:
    store, item = TensorStore(), a.item
    numbers, _ = layer_numbers(store, a.record, item, slice(a.head, a.head + 1), "float32")
    rows = numbered_tokens(a.n_q) if a.origin is None else a.origin.row_tokens(item)
    cols = numbered_tokens(a.n_k) if a.origin is None else a.origin.col_tokens(item)
    names = tuple(dict.fromkeys((token_names(rows), token_names(cols))))
    entry = _UNKNOWN if a.origin is None else _of_trace(a.origin, a.record)
    at_rows, at_cols = names.index(token_names(rows)), names.index(token_names(cols))
    text = _text("Text", "row", at_cols, cols, queries=a.n_k - a.n_q)
    texts = [text]
    if entry["kind"] == "cross":
        source = _text("Source", "col", at_cols, cols)
        texts = [source, _text("Target", "row", at_rows, rows, queries=0, keys=False)]
    visible = a.record.visible_counts(item, slice(a.head, a.head + 1))
    layer = {
        **entry,
        **numbers,
        "rows": at_rows,
        "cols": at_cols,
        "texts": texts,
        "helps": token_helps(visible is not None, entry["kind"] != "cross"),
        "descriptions": [""],
    }
    index = {
        "title": title or f"{entry['title']}, head {a.head}",
        "text": "",
        "whole": True,
        "layers": [layer],
        "names": [list(one) for one in names],
        "grid": None,
        "predictions": None,
        "storage": FLOAT32_NOTE,
        "image": image_entry(names, None),
        "start": {"layer": entry["index"], "head": a.head},
    }
    return index, store


def _text(
    title: str,
    side: Literal["row", "col"],
    names: int,
    tokens: Sequence[Token],
    *,
    queries: int | None = None,
    keys: bool = True,
) -> dict[str, Any]:
    """A text of the head; the arguments are those of `TextSection.of` and `text_entry`."""
    section = TextSection.of(title, "", side, tokens, queries=queries, keys=keys)
    return text_entry(section, names)


def _of_trace(origin: MapOrigin, record: LayerRecord) -> dict[str, Any]:
    layer = origin.layer
    found = receipt(layer.index, layer.source, record, origin.checks)
    return {**layer_entry(layer, f"Layer {layer.index}"), "receipt": receipt_entry(layer, found)}


_UNKNOWN: dict[str, Any] = {  # of a record without its trace
    "index": 0, "title": "Attention", "kind": "encoder", "source": "exact", "reason": "",
    "receipt": {"word": "unchecked", "color": "orange", "text": "No layer's own output is known."},
}  # fmt: skip
