"""A trace's page in Chromium, opened from its file and cut off from every network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page

from attnviz.canvas.page import write_page
from attnviz.trace import Trace

PART = "document.querySelector('.part.{} .canvas-root').attnviz"

# Every row of a head: its weights and its output.
HEAD = """async ([layer, number]) => {
    const view = document.getElementById("trace").attnviz;
    const reading = await view.reading(layer, number);
    const { nQ } = reading.head.parts;
    const rows = Array.from({ length: nQ }, (_, i) => reading.row(i));
    const { head } = reading;
    return {
        weights: rows.map((row) => [...row.weights]),
        output: head.hasOutput ? rows.map((row, i) => [...head.output(i, row)]) : null,
    };
}"""


class TracePage:
    """A page, as a person's eye and hand meet it; and its numbers."""

    def __init__(self, context: BrowserContext, file: Path) -> None:
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "console",
            lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None,
        )
        self.page.on("request", lambda r: self.outside.append(r.url))
        self.page.goto(file.as_uri())
        self.wait(
            "view.turn > 0 && view.shownAt > 0 && (view.gridPayload || view.index.grid === null)"
        )

    def run(self, code: str, argument: object = None) -> Any:
        """JavaScript with the page's ``view`` and its canvases in reach."""
        return self.page.evaluate(f"(argument) => {{ {_names()} {code} }}", argument)

    def wait(self, condition: str) -> None:
        """Until this JavaScript is true."""
        self.page.wait_for_function(f"() => {{ {_names()} return {condition}; }}")

    def shows(self, layer: int, head: int) -> None:
        """Until this head is on screen."""
        self.wait(f"view.parts.title.textContent.endsWith('{layer}, head {head}')")

    def head(self, layer: int, head: int) -> dict[str, np.ndarray | None]:
        """What the page computes of a head."""
        found = self.page.evaluate(HEAD, [layer, head])
        return {key: None if rows is None else np.array(rows) for key, rows in found.items()}

    def point(self, part: str, x: float, y: float, click: bool = False) -> None:
        """Move the mouse to a place on a canvas, and perhaps click there."""
        box = self.run(
            f"const b = {part}.stage.picture.getBoundingClientRect(); return [b.left, b.top];"
        )
        self.page.mouse.move(box[0] + x + 3, box[1] + y + 3)
        self.page.mouse.move(box[0] + x, box[1] + y)
        if click:
            self.page.mouse.click(box[0] + x, box[1] + y)

    def choose(self, layer: int, head: int) -> None:
        """Click a head in the grid."""
        x, y = self.run(
            "const [layer, number] = argument;"
            "const one = grid.mode.shown.find((h) => h.layer === layer && h.head === number);"
            "grid.stage.scroll.scrollTop = Math.max(0, one.y - 100);"
            "return [one.x + one.w / 2, one.y + one.h / 2 - grid.stage.scroll.scrollTop];",
            [layer, head],
        )
        self.point("grid", x, y, click=True)

    def tip(self) -> dict[str, str]:
        """The chosen head's tooltip: its names and its texts."""
        rows = self.run(
            "if (head.stage.tipBox.hidden) return [];"
            "return [...head.stage.tipBox.children]"
            ".map((row) => [row.children[0].textContent, row.children[1].textContent]);"
        )
        return dict(rows)


def _names() -> str:
    parts = "".join(f"const {name} = {PART.format(name)};" for name in ("strip", "grid", "head"))
    return (
        f"const view = document.getElementById('trace')?.attnviz; if (!view) return null; {parts}"
    )


class Opened:
    """Opens pages of traces and, at the end, knows what went wrong on them."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser = browser
        self._folder = folder
        self._contexts: list[BrowserContext] = []
        self.pages: list[TracePage] = []

    def __call__(
        self, trace: Trace, width: int = 1440, height: int = 900, **options: Any
    ) -> TracePage:
        file = write_page(trace, self._folder / f"trace{len(self.pages)}.html", **options)
        return self.file(file, width, height)

    def file(self, file: Path, width: int = 1440, height: int = 900) -> TracePage:
        """A page that was written before."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, offline=True
        )
        self._contexts.append(context)
        self.pages.append(TracePage(context, file))
        return self.pages[-1]

    def close(self) -> None:
        """No page may have met an error, or asked for anything but itself."""
        assert all(page.page.url.startswith("file:") for page in self.pages)
        for context in self._contexts:
            context.close()
        problems = [problem for page in self.pages for problem in page.problems]
        assert problems == []
        for page in self.pages:
            asked = {url.split("#")[0] for url in page.outside}
            assert len([url for url in asked if not url.startswith(("data:", "blob:"))]) == 1
