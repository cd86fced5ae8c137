"""A canvas on a page: its state, its pixels, and what the pointer and keys do."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

LONGEST_TIMER_MS = 500  # of the canvas: REPORT_AFTER in js/requests.js

# The component's root, of the first canvas on the page; `attnviz` on it is the running instance.
FIND = """
    const host = document.querySelector('[data-testid="stBidiComponentIsolated"]');
    const root = host?.shadowRoot?.querySelector('.canvas-root');
"""


class CanvasOn:
    """The canvas on a page, as a person's hand and eye meet it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.wait_for_function(f"() => {{ {FIND} return root?.attnviz?.stage.painted > 0; }}")
        self.settle()

    def run(self, code: str, argument: object = None) -> Any:
        """JavaScript with ``root``, ``stage``, ``mode`` and ``argument`` in reach."""
        names = "const stage = root.attnviz.stage, mode = root.attnviz.mode;"
        return self.page.evaluate(f"async (argument) => {{ {FIND} {names} {code} }}", argument)

    def settle(self) -> None:
        """Let what was asked for be painted."""
        frame = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
        self.run(frame + frame)

    def until(self, code: str, argument: object = None) -> None:
        """Wait until this JavaScript, as for ``run``, returns something true."""
        names = "const stage = root.attnviz.stage, mode = root.attnviz.mode;"
        self.page.wait_for_function(f"(argument) => {{ {FIND} {names} {code} }}", arg=argument)

    def timers_run_out(self) -> None:
        """Let the canvas do what it put off: a longer timer set after its timers fires last."""
        self.run(f"await new Promise((done) => setTimeout(done, {LONGEST_TIMER_MS + 50}));")
        self.settle()

    def box(self) -> tuple[float, float]:
        """Where the canvas begins on the page."""
        code = "const b = stage.picture.getBoundingClientRect(); return [b.left, b.top];"
        left, top = self.run(code)
        return left, top

    def point(self, x: float, y: float) -> None:
        """Move the mouse there, from somewhere else."""
        left, top = self.box()
        self.page.mouse.move(left + x + 3, top + y + 3)
        self.page.mouse.move(left + x, top + y)

    def pixels(self, x: float, y: float, width: float, height: float) -> np.ndarray:
        """(h, w, 3): what is drawn on the canvas there."""
        left, top = self.box()
        clip = {"x": left + x, "y": top + y, "width": width, "height": height}
        shot = Image.open(io.BytesIO(self.page.screenshot(clip=clip)))
        return np.asarray(shot.convert("RGB"))

    def tip(self) -> dict[str, str]:
        """The tooltip: its names and its texts."""
        rows = self.run(
            "if (stage.tipBox.hidden) return [];"
            "return [...stage.tipBox.querySelectorAll(':scope > div')]"
            ".map((row) => [row.children[0].textContent, row.children[1].textContent]);"
        )
        return dict(rows)

    def said(self) -> dict[str, Any]:
        """What the app wrote about its canvas: runs, bytes, and the canvas's state."""
        return json.loads(self.page.locator('[data-testid="stCode"]').inner_text())

    def wait_for(self, condition: str) -> None:
        """Wait until ``condition``, JavaScript over ``said``, is true of what the app wrote."""
        self.page.wait_for_function(
            """(condition) => {
                const text = document.querySelector('[data-testid="stCode"]')?.innerText;
                return text && new Function("said", `return ${condition}`)(JSON.parse(text));
            }""",
            arg=condition,
        )

    def save(self, kind: str) -> tuple[str, bytes]:
        """The name and the content of the picture that the menu saves: "PNG, 2x", "SVG"."""
        self.page.get_by_role("button", name="Save the picture").click()
        with self.page.expect_download() as download:
            self.page.get_by_role("menuitem", name=kind).click()
        return download.value.suggested_filename, download.value.path().read_bytes()

    # ---- maps ----

    def middle(self, row: int, col: int) -> tuple[float, float]:
        """Where a cell's middle is on the canvas."""
        x, y = self.run("return mode.middleOf(argument);", [row, col])
        return x, y
