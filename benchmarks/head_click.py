"""From a click on a head in Explore's grid to its picture, on the page itself.

    python -m benchmarks.head_click

SmolLM2 reads 1,024 tokens. Each click is on a head whose map is not cached: the message, the
script's run, the map's cells, Streamlit and the drawing are all in its time.
"""

from __future__ import annotations

import statistics
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

from benchmarks.figure import Figure, show
from benchmarks.server import serve
from tests.browser import chromium

TITLE = "Explore: a click on a head of 1,024 tokens"
GOAL_MS = 250
N_TOKENS = 1024
HEADS = [(3, 1), (7, 4), (12, 8), (16, 0), (20, 2), (24, 6), (28, 3), (5, 5), (9, 7)]

# The canvas of a mode, in whichever shadow root it is.
FIND = """(mode) => [...document.querySelectorAll("*")].map((e) => e.shadowRoot?.querySelector(
    `.canvas-root[data-mode=${mode}]`)).find(Boolean)?.attnviz"""

WHERE = f"""([layer, head]) => {{
    const {{ mode, stage }} = ({FIND})("grid");
    const h = mode.shown.find((one) => one.layer === layer && one.head === head);
    stage.scroll.scrollTop = h.y - stage.height / 2;
    const box = stage.picture.getBoundingClientRect();
    return [box.x + h.x + h.w / 2, box.y + h.y + h.h / 2 - stage.scroll.scrollTop];
}}"""

# Resolves with milliseconds from the next press of the button to the frame with the head's map.
TIMED = f"""([layer, head]) => new Promise((done) => addEventListener("pointerdown", () => {{
    const start = performance.now();
    const wanted = `Layer ${{layer}}, head ${{head}}: `;
    const before = ({FIND})("map").stage.painted;
    const look = () => requestAnimationFrame(() => {{
        const {{ mode, stage }} = ({FIND})("map");
        if (!mode.label.startsWith(wanted) || stage.painted === before) return look();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    }});
    look();
}}, {{ capture: true, once: true }}))"""


def measure() -> list[Figure]:
    """The median and the slowest click."""
    times = run()
    median, worst = statistics.median(times), max(times)
    goal = f"<= {GOAL_MS} ms"
    return [
        Figure("click to painted head, median", goal, f"{median:.0f} ms", median <= GOAL_MS),
        Figure("slowest of " + str(len(times)), goal, f"{worst:.0f} ms", worst <= GOAL_MS),
    ]


def run() -> list[float]:
    """Milliseconds of each click, without the first, which warms the page up."""
    text = " ".join(f"{n} sheep sleep." for n in range(2000))
    with sync_playwright() as playwright, serve("app.py") as address:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/explore?model=smollm2-135m&text={quote(_of_length(text))}")
        page.wait_for_function(
            f"""() => {{ const grid = ({FIND})("grid");
                return ({FIND})("map")?.stage.painted && grid?.stage.note.textContent === ""
                    && grid.mode.heads?.every((h) => Number.isFinite(h.numbers[0])); }}""",
            timeout=300_000,
            polling=500,
        )
        times = [_click(page, head) for head in HEADS]
        browser.close()
    return times[1:]


def _of_length(text: str) -> str:
    """The beginning of a text that has as many tokens as are wanted."""
    import attnviz

    encoded = attnviz.load("smollm2-135m", device="cpu").tokenizer
    assert encoded is not None
    ids = encoded(text)["input_ids"][:N_TOKENS]
    beginning: str = encoded.decode(ids)
    return beginning


def _click(page: Page, head: tuple[int, int]) -> float:
    page.wait_for_timeout(1500)  # the run before has ended
    point = page.evaluate(WHERE, list(head))
    page.mouse.move(*point)
    page.evaluate(f"(head) => {{ window.clicked = ({TIMED})(head); }}", list(head))
    page.mouse.click(*point)
    milliseconds: float = page.evaluate("() => window.clicked")
    return milliseconds


if __name__ == "__main__":
    show(TITLE, measure)
