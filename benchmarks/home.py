"""Home's first picture in the browser, against a bare Streamlit page with one element.

    python -m benchmarks.home

Every measurement has a browser without a cache. A first visitor comes to a server that has just
started and run nothing yet; a later one to a server where others have been. The picture is the arcs
of a head over the sentence; the bare page's is its one line of text. Also: how long a click from
Home to Explore takes until a head is painted, as soon as Home says that the model is loaded.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.figure import Figure, show
from benchmarks.server import serve
from tests.browser import chromium

ROUNDS = 5
GOAL = 1.5
BARE_PAGE = 'import streamlit as st\nst.text("One element")\n'
PICTURES = {"bare": '[data-testid="stText"]', "home": ".arcs path"}
# Looks at every frame, into components too; a locator looks now and then.
WATCH = """(() => {
    const roots = [document];
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (options) {
        const root = attach.call(this, options);
        roots.push(root);
        return root;
    };
    const look = () => {
        if (roots.some((root) => root.querySelector(PICTURE))) window.__picture = performance.now();
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})()"""
TITLE = "Home: the first picture, against a bare page with one element"


def measure() -> list[Figure]:
    """Medians over the rounds, and their ratios."""
    times, click = run()
    figures = []
    for visitor in ("first", "later"):
        bare, home = (statistics.median(times[page, visitor]) for page in PICTURES)
        said = f"{home / bare:.2f} x ({home:.2f} : {bare:.2f} s)"
        what = f"a server's {visitor} visitor" if visitor == "first" else "a later visitor"
        figures.append(Figure(f"{what} : a bare page's", f"<= {GOAL} x", said, home / bare <= GOAL))
    figures.append(Figure("a click from Home to a painted head in Explore", "", f"{click:.2f} s"))
    return figures


def run() -> tuple[dict[tuple[str, str], list[float]], float]:
    """Seconds by page and visitor, and of the click. The pages take turns."""
    times: dict[tuple[str, str], list[float]] = {}
    clicks = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_PAGE)
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        _warmed(browser, bare)
        for _ in range(ROUNDS):
            for name, script in (("bare", bare), ("home", Path("app.py"))):
                with serve(script) as address:
                    for visitor in ("first", "later"):
                        page = browser.new_context(
                            viewport={"width": 1440, "height": 900}
                        ).new_page()
                        seconds = _first_picture(page, address, PICTURES[name])
                        times.setdefault((name, visitor), []).append(seconds)
                        if name == "home":  # as a later visitor finds it
                            page.get_by_text("is loaded.").wait_for(timeout=120_000)
                        if (name, visitor) == ("home", "later"):
                            clicks.append(_click(page))
                        page.context.close()
        browser.close()
    return times, statistics.median(clicks)


def _warmed(browser: Browser, script: Path) -> None:
    """One visit that counts for nothing: the browser's own first page, files from the disk."""
    with serve(script) as address:
        page = browser.new_page()
        _first_picture(page, address, PICTURES["bare"])
        page.close()


def _first_picture(page: Page, address: str, picture: str) -> float:
    """Seconds from the request to the first frame that has the picture."""
    page.add_init_script(WATCH.replace("PICTURE", json.dumps(picture)))
    page.goto(address, wait_until="commit")
    page.wait_for_function("() => window.__picture", timeout=120_000)
    return page.evaluate("window.__picture") / 1000


def _click(page: Page) -> float:
    """Seconds from the click on a head's link to that head's map."""
    start = time.perf_counter()
    page.get_by_role("link", name="Open this head in Explore").click()
    page.locator('.canvas-root[data-mode="map"] canvas').first.wait_for(timeout=120_000)
    return time.perf_counter() - start


if __name__ == "__main__":
    show(TITLE, measure)
