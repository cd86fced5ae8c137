"""Traces, heads and grids in notebooks: a page in a frame, with no widget server and offline.

Jupyter, VS Code, Colab and marimo all draw HTML, but not with the same scripts: marimo and VS Code
insert it as it is, where a script does not run, and Jupyter drops scripts of a notebook that is not
trusted. A frame with its page in ``srcdoc`` runs in all of them, and in a sandbox: nothing of it, a
token's text included, can reach the notebook.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from attnviz.canvas.bundle import as_html
from attnviz.canvas.grid import grid_payload
from attnviz.canvas.page import n_numbers, page_html
from attnviz.canvas.page_head import head_html
from attnviz.trace import AttentionMap, Trace

HEIGHT = 760  # px
HEAD_HEIGHT = 640
HEADING = 80  # px of a page's heading and edges

# Numbers of Q, K and V up to which a trace that is a cell's last expression shows all of itself: 8
# MB of notebook. A longer one shows its grid, and how to see the rest.
AUTOMATIC_UP_TO = 1_500_000


@dataclass(frozen=True)
class Frame:
    """A page inside a notebook.

    Attributes:
        page: the whole HTML document. height: px. note: a sentence above it.
    """

    page: str
    height: int
    note: str = ""

    def _repr_html_(self) -> str:
        note = f"<div>{html.escape(self.note)}</div>" if self.note else ""
        return _FRAME.format(note=note, height=self.height, page=html.escape(self.page, quote=True))


# A front end that drops frames, as Jupyter does in a notebook that isn't trusted, shows this
# text instead.
_FRAME = """{note}<div style="position: relative; height: {height}px;">
<span>This picture runs in a frame, which this notebook leaves out until it is trusted. \
Trust the notebook, or run the cell again.</span>
<iframe srcdoc="{page}" sandbox="allow-scripts allow-downloads" title="attnviz" \
style="position: absolute; inset: 0; width: 100%; height: 100%; border: 0; \
background: Canvas;"></iframe>
</div>"""


def show(
    shown: Trace | AttentionMap, *, height: int | None = None, automatic: bool = False,
    **options: Any,
) -> Frame:  # fmt: skip
    """A trace or a head for a notebook.

    Args:
        height: px. automatic: as a cell's last expression, which must not be large.
        options: of ``page_html`` or ``head_html``.
    """
    if isinstance(shown, AttentionMap):
        return Frame(head_html(shown, **options), height or HEAD_HEIGHT)
    if automatic and n_numbers(shown) > AUTOMATIC_UP_TO:
        grid = show_heads(shown, height=height)
        mb = round(n_numbers(shown) * 2 * 4 / 3 / 1e6)
        note = (
            f"All heads. The whole trace would take {mb} MB of this notebook: trace.show() shows "
            'it here, and attnviz.page(trace, "trace.html") writes it to a file.'
        )
        return Frame(grid.page, grid.height, note)
    return Frame(page_html(shown, **options), height or HEIGHT)


def show_heads(trace: Trace, *, height: int | None = None, item: int = 0) -> Frame:
    """Every head of a trace as a thumbnail, with the numbers to sort and filter them by."""
    height = height or HEIGHT
    return Frame(as_html(grid_payload(trace, item=item), "All heads", height - HEADING), height)
