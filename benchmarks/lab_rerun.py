"""Layer lab's rerun in the browser, from a key press on a slider to the new picture.

    python -m benchmarks.lab_rerun

The yardstick is a bare Streamlit page with one slider and one text, served and measured in the same
run: both pay for the slider's own delay, the way to the server and back, and Streamlit's frontend.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.figure import Figure, show
from benchmarks.server import serve
from tests.browser import chromium

PRESSES = 12
QUIET_MS = 900  # nothing has been painted for this long: the answer is complete
FLOW = '[data-testid="stBidiComponentIsolated"]'
BARE_PAGE = """import streamlit as st
n = st.slider("Number", 0, 100, 50)
st.text(f"The number is {n}")
"""

# Notes when a key went down, and when something watched was last painted: a changed node inside an
# element that fits the selector, or a stroke on any canvas.
WATCH = """(selector) => {
    window.__pressed = 0; window.__painted = 0;
    document.addEventListener('keydown', () => { window.__pressed = performance.now(); }, true);
    const painted = () => { window.__painted = performance.now(); };
    const inside = ({target}) =>
        (target.nodeType === 1 ? target : target.parentElement)?.closest(selector);
    new MutationObserver((changes) => {
        if (changes.some(inside)) requestAnimationFrame(painted);
    }).observe(document.body,
        {subtree: true, childList: true, attributes: true, characterData: true});
    const brush = CanvasRenderingContext2D.prototype;
    for (const name of ['fill', 'stroke', 'fillText', 'drawImage']) {
        const original = brush[name];
        brush[name] = function (...given) {
            if (this.canvas.isConnected) requestAnimationFrame(painted);
            return original.apply(this, given);
        };
    }
}"""
ANSWERED = """(quiet) => window.__painted > window.__pressed
    && performance.now() - window.__painted > quiet"""


TITLE = "Layer lab: from key press to the new picture"


def measure() -> list[Figure]:
    """A slider's answer in the browser, against a bare page's with one slider and one text.

    For readers who asked for less motion. For others, numbers of the same shape move for a moment
    after the answer, which is the last figure.
    """
    got = run()
    figures = []
    for name, what in (("head", "the head shown"), ("d_model", "d_model, all matrices")):
        ratio = got[f"{name}_ratio"]
        said = f"{ratio:.1f} x ({got[f'{name}_ms']:.0f} : {got['bare_ms']:.0f} ms)"
        figures.append(Figure(f"a key on {what} : a bare page", "<= 4 x", said, ratio <= 4))
    moved = f"{got['motion_ms']:.0f} ms"
    figures.append(Figure("a key on the head shown, until the numbers rest", "", moved))
    return figures


def run() -> dict[str, float]:
    """Milliseconds (medians of ``PRESSES``) and their ratios to the bare page's.

    ``head`` turns the slider of the shown head, which changes the numbers of one head; ``d_model``
    changes every matrix and most shapes. The pages take turns, so that whatever else the machine
    does meets them alike.
    """
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_PAGE)
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        with serve(bare) as plain, serve("app.py") as app:
            pages = {
                "bare": _opened(browser, plain, "Number", '[data-testid="stText"]'),
                "head": _opened(browser, f"{app}/layer_lab", "Head", FLOW),
                "d_model": _opened(browser, f"{app}/layer_lab", "d_model", FLOW),
                "motion": _opened(browser, f"{app}/layer_lab", "Head", FLOW, moves=True),
            }
            times: dict[str, list[float]] = {name: [] for name in pages}
            for press in range(PRESSES + 2):
                for name, page in pages.items():
                    times[name].append(_press(page, "ArrowLeft" if press % 2 else "ArrowRight"))
        browser.close()
    # The first two warm caches up.
    figures = {f"{name}_ms": statistics.median(taken[2:]) for name, taken in times.items()}
    for name in ("head", "d_model"):
        figures[f"{name}_ratio"] = figures[f"{name}_ms"] / figures["bare_ms"]
    return {name: round(figure, 2) for name, figure in figures.items()}


def _opened(browser: Browser, address: str, label: str, watched: str, moves: bool = False) -> Page:
    """A page that is complete, with its slider focused."""
    page = browser.new_page(
        viewport={"width": 1440, "height": 1000},
        reduced_motion="no-preference" if moves else "reduce",
    )
    page.goto(address)
    slider = page.locator(f'input[type=range][aria-label="{label}"]')
    slider.wait_for(state="attached", timeout=120_000)
    page.locator(watched).last.wait_for(timeout=120_000)
    page.wait_for_timeout(3_000)
    page.evaluate(WATCH, watched)
    slider.focus()
    return page


def _press(page: Page, key: str) -> float:
    """Milliseconds from the key press to the last change on screen."""
    page.bring_to_front()
    page.keyboard.press(key)
    page.wait_for_function(ANSWERED, arg=QUIET_MS, timeout=120_000)
    return page.evaluate("window.__painted - window.__pressed")


if __name__ == "__main__":
    show(TITLE, measure)
