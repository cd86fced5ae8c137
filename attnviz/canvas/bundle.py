"""The canvas's browser files, and HTML pages that need nothing else."""

from __future__ import annotations

import base64
import html
import re
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from attnviz.charts import palettes

ASSETS = Path(__file__).parent / "js"  # served as they are: modules and a style sheet
HTML = '<div class="canvas-root"></div>\n'

_ENTRY = "main"  # its default export mounts a canvas
_IMPORT = re.compile(r'^import\s*\{[^}]*\}\s*from\s*"\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


Theme = Literal["system", "light", "dark"]


class Payload(Protocol):
    """Anything that encodes itself as a message to the browser."""

    def encode(self, **display: object) -> bytes: ...


def script(entry: str = _ENTRY) -> str:
    """A module and all that it imports as one, for a self-contained page.

    Every file is an ES module with plain named imports from its neighbors. Here they share one
    scope: each follows those it imports, and import statements and the word ``export`` go.
    Top-level names are unique over all files.
    """
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _source(name))) for name in modules(entry))


@cache
def modules(entry: str = _ENTRY) -> tuple[str, ...]:
    """``entry`` and all that it imports, each after its own imports."""
    order: dict[str, None] = {}
    for name in _IMPORT.findall(_source(entry)):
        order |= dict.fromkeys(modules(name))
    return (*order, entry)


def style(name: str = "canvas") -> str:
    """A style sheet."""
    return (ASSETS / f"{name}.css").read_text(encoding="utf-8")


def theme_style(theme: Theme = "system") -> str:
    """The variables that Streamlit's theme would give, for a page without it."""
    if theme != "system":
        return f":root {{ color-scheme: {theme}; {_colors(theme)} }}"
    return (
        f":root {{ color-scheme: light dark; {_colors('light')} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_colors('dark')} }} }}"
    )


def _colors(theme: palettes.Theme) -> str:
    page = [f"--st-{name}-color: {color};" for name, color in palettes.PAGE[theme].items()]
    verdicts = [f"--verdict-{name}: {color};" for name, color in palettes.VERDICTS.items()]
    return " ".join(page + verdicts)


def _source(module: str) -> str:
    return (ASSETS / f"{module}.js").read_text(encoding="utf-8")


def as_html(
    payload: Payload, title: str, height: int = 760, *, source: str = "", receipt: str = ""
) -> str:
    """An HTML page of one canvas that opens offline in any browser and loads nothing else.

    It shows what is in the payload: of a long map, the overview and one tile.

    Args:
        title: the heading. height: of the canvas, px.
        source: the model and the start of the text, see `attnviz.canvas.naming.source_line`.
        receipt: how the numbers were checked, see `attnviz.analysis.verdict`.
    """
    encoded = payload.encode(height=height, offline=True, source=source)
    message = base64.b64encode(encoded).decode("ascii")
    code = script().replace("export default function", "const mount = function", 1)
    lines = [("source", source), ("receipt", receipt)]
    return _PAGE.format(
        title=html.escape(title),
        heading="".join(
            f'<p class="{kind}">{html.escape(text)}</p>\n' for kind, text in lines if text
        ),
        theme=theme_style(),
        style=style(),
        root=HTML,
        code=code,
        message=message,
    )


# All of the payload travels in base64, so that no token can be taken for markup.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{theme}
body {{ background: var(--st-background-color); color: var(--st-text-color); margin: 16px; }}
body > :is(h1, p) {{ font-family: system-ui, sans-serif; margin: 0 0 6px; }}
h1 {{ font-size: 20px; }}
p {{ font-size: 14px; opacity: 0.8; unicode-bidi: plaintext; }}
{style}
</style>
</head>
<body>
<h1>{title}</h1>
{heading}
{root}
<script type="module">
{code}
const bytes = Uint8Array.from(atob("{message}"), (letter) => letter.charCodeAt(0));
mount({{ data: bytes, parentElement: document.body, setStateValue() {{}} }});
</script>
</body>
</html>
"""
