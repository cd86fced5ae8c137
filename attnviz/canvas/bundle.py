"""The canvas's own files, and a page that needs nothing else."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Protocol

_HERE = Path(__file__).parent

HTML = '<div class="canvas-root"></div>\n'

# A module comes after those it imports.
MODULES = (
    "payload", "numbers", "colours", "dom", "stage", "pictures", "shading", "viewport", "axes",
    "asking", "mapkeys", "reading", "map", "gridlayout", "grid", "links", "linepaint", "lines",
    "neuronpaint", "neuron", "stripdraw", "stripflow", "striptint", "stripkeys", "strip", "main",
)  # fmt: skip

_IMPORT = re.compile(r"^import\s*\{[^}]*\}\s*from\s*\"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
_REMARK = re.compile(
    r"^\s*(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)\s*?\n", re.MULTILINE
)  # on lines of its own
_INDENT = re.compile(r"^[ ]+", re.MULTILINE)


class Payload(Protocol):
    """What a payload builder gives: something that is a message to the browser."""

    def encode(self, **display: object) -> bytes: ...


def script() -> str:
    """The component's modules as one: a component that isn't installed has one string of code.

    Every file is an ES module of its own with plain named imports from its neighbours; here they
    share one scope, so those imports and the word ``export`` go. Top-level names are unique. The
    string travels with every canvas of every rerun, so remarks and wide indents stay at home.
    """
    parts = []
    for name in MODULES:
        text = (_HERE / "js" / f"{name}.js").read_text(encoding="utf-8")
        code = _EXPORT.sub("", _IMPORT.sub("", text))
        parts.append(_INDENT.sub(" ", _REMARK.sub("", code)))
    return "\n".join(parts)


def style() -> str:
    """The component's style sheet."""
    return (_HERE / "canvas.css").read_text(encoding="utf-8")


def as_html(payload: Payload, title: str, height: int = 760) -> str:
    """A page of one canvas that opens offline, in any browser, and asks nobody for anything.

    What is in the payload is all there is: a long map shows its overview and the tile that came
    with it.
    """
    message = base64.b64encode(payload.encode(height=height, offline=True)).decode("ascii")
    code = script().replace("export default function", "const mount = function", 1)
    return _PAGE.format(
        title=html.escape(title), style=style(), root=HTML, code=code, message=message
    )


# The theme's variables are as Streamlit would give them. All of the payload travels in base64, so
# that no token can be taken for markup.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{
  color-scheme: light dark;
  --st-background-color: #ffffff; --st-secondary-background-color: #f3f5f7;
  --st-text-color: #1c2530; --st-border-color: #d8dee5; --st-primary-color: #0b6a86;
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --st-background-color: #10151b; --st-secondary-background-color: #1a222b;
    --st-text-color: #e4e9ef; --st-border-color: #2f3a46; --st-primary-color: #2291b3;
  }}
}}
body {{ background: var(--st-background-color); margin: 16px; }}
{style}
</style>
</head>
<body>
{root}
<script type="module">
{code}
const bytes = Uint8Array.from(atob("{message}"), (letter) => letter.charCodeAt(0));
mount({{ data: bytes, parentElement: document.body, setStateValue() {{}} }});
</script>
</body>
</html>
"""
