"""A page as one file: its index as JSON, arrays, style and script; it loads nothing else."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from attnviz.analysis.verdict import verdict
from attnviz.canvas import bundle
from attnviz.canvas.bundle import Theme
from attnviz.canvas.tensor_store import TensorStore

if TYPE_CHECKING:
    from attnviz.canvas.strip import TextSection
    from attnviz.trace import AttentionLayer, Fidelity

FLOAT32_NOTE = "Numbers are float32; what is shown is computed from them in double precision."


def layer_entry(layer: AttentionLayer, title: str) -> dict[str, Any]:
    """A layer's entry in the index, without its numbers."""
    return {
        "index": layer.index,
        "title": title,
        "kind": layer.kind,
        "source": layer.source,
        "reason": layer.reason,
    }


def receipt_entry(layer: AttentionLayer, found: Fidelity) -> dict[str, str]:
    """A layer's receipt in words."""
    word, color, sentence = verdict(layer, found)
    return {"word": word, "color": color, "text": sentence}


def text_entry(section: TextSection, names: int) -> dict[str, Any]:
    """A text of a layer.

    Args:
        names: index of its token names among the page's lists of names.
    """
    entry = {name: value for name, value in vars(section).items() if name != "axis"}
    return {**entry, "names": names}


def page_file(index: dict[str, Any], store: TensorStore, theme: Theme) -> str:
    """The HTML. All markup is in this template: neither the JSON nor base64 contains "<"."""
    content = json.dumps(index, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    blobs = "\n".join(f'<script type="text/plain" id="b{i}">{text}</script>' for i, text in store)
    title = " · ".join(part for part in (index["title"], index["text"]) if part) or "Attention"
    return _PAGE.format(
        title=html.escape(title),
        theme=bundle.theme_style(theme),
        style=bundle.style() + bundle.style("page"),
        index=content,
        blobs=blobs,
        code=bundle.script("page"),
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';
  img-src data:">
<title>{title}</title>
<style>
{theme}
{style}
</style>
</head>
<body>
<div id="trace"></div>
<script type="application/json" id="index">{index}</script>
{blobs}
<script type="module">
{code}
startPage(document);
</script>
</body>
</html>
"""
