"""The canvas: every head at once, lines, and long maps, from a trace to a picture in Chromium.

    python -m benchmarks.canvas

A picture's time begins with a click in a running Streamlit page that has its trace and nothing made
from it, and ends when the canvas has painted and the frame is through: payload, message, Streamlit
and the component's first code are all in it. BertViz's begins with the same weights as tensors, and
ends likewise.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import Browser, Page, sync_playwright

from attnviz.canvas import Viewport, as_html, map_payload
from benchmarks import bertviz_page
from benchmarks.bertviz_page import Shown
from benchmarks.canvas_page import HEAD, LAYER, THREADS, payload_of, trace_of
from benchmarks.figure import Figure, show
from benchmarks.server import serve
from tests.browser import chromium
from tests.browser.canvas_page import FIND, CanvasOn

TITLE = "The canvas (GPT-2-small's shape, in Chromium)"
TIMES = 3  # of each picture, every one from a trace of its own
SCRIPT = "from benchmarks.canvas_page import show\nshow()\n"

# Milliseconds from a click until the frame with the first picture is through.
CLICK_TO_PAINT = f"""() => new Promise((done) => {{
    const button = document.querySelector('[data-testid="stButton"] button');
    const start = performance.now();
    const look = () => requestAnimationFrame(() => {{
        {FIND}
        if (!(root?.attnviz?.stage.painted > 0)) return look();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    }});
    button.click();
    look();
}})"""

# The time between frames, and of drawing one, while every frame moves the map.
MOVING = """
    const frames = [], draws = [];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 120; i++) {
        const box = stage.picture.getBoundingClientRect();
        if (argument === "zoom") {
            stage.picture.dispatchEvent(new WheelEvent("wheel", {
                deltaY: i % 60 < 30 ? -60 : 60, clientX: box.left + 600, clientY: box.top + 400,
                bubbles: true, cancelable: true }));
        } else mode.pan(i % 40 < 20 ? -9 : 9, i % 40 < 20 ? -7 : 7);
        const now = await new Promise(requestAnimationFrame);
        if (i > 3) { frames.push(now - last); draws.push(stage.drawMs); }
        last = now;
    }
    const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
    return [median(frames), median(draws)];
"""

# From the pointer's event to the tooltip, laid out, and the crosshair over the map.
HOVER = """
    const box = stage.picture.getBoundingClientRect(), times = [];
    for (let i = 0; i < 40; i++) {
        const start = performance.now();
        stage.picture.dispatchEvent(new PointerEvent("pointermove", {
            clientX: box.left + 300 + 5 * i, clientY: box.top + 500 + 3 * i, bubbles: true }));
        stage.tipBox.getBoundingClientRect();
        const tip = performance.now() - start;
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        if (!stage.tipBox.hidden) times.push(tip + stage.overMs);
    }
    return [times.sort((a, b) => a - b)[times.length >> 1], times.length];
"""


def measure() -> list[Figure]:
    """All figures; those against BertViz only where it and npm's copies can be had."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        script = folder / "page.py"
        script.write_text(SCRIPT)
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        with serve(script) as address:
            pictures = Pictures(browser, address)
            pictures.seconds("grid", 32)  # the server has imported everything
            grids = {n: pictures.seconds("grid", n) for n in (128, 256, 1024)}
            lines = pictures.seconds("lines", 256)
            maps = {n: pictures.seconds("map", n, layers=1) for n in (4096, 16_384)}
            hand = _hand(pictures.page("map", 1024, layers=1))
        browser.close()
    threads = torch.get_num_threads()
    beside, tile = _against_bertviz(grids[128], lines), _tile(4096)
    torch.set_num_threads(threads)  # as the next benchmark expects them
    cores = f"{THREADS} of {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f})"
    return [
        Figure("torch threads of the server", "", cores),
        *beside,
        *(_at_most(f"144 heads at {n:,} tokens", grids[n], s) for n, s in ((256, 1), (1024, 2))),
        *(
            _at_most(f"one head's map at {n:,} tokens, first picture", maps[n], s)
            for n, s in ((4096, 1), (16_384, 3))
        ),
        tile,
        *hand,
    ]


class Pictures:
    """The benchmark's page, opened anew for every picture."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        self.address = address
        self.seed = 0

    def seconds(self, mode: str, n: int, layers: int = 12) -> float:
        """From the click to the picture: the median of ``TIMES``."""
        taken = []
        for _ in range(TIMES if n < 16_384 else 1):  # a trace of 16,384 tokens takes its time
            page = self._opened(mode, n, layers)
            taken.append(page.evaluate(CLICK_TO_PAINT) / 1000)
            page.close()
        return statistics.median(taken)

    def page(self, mode: str, n: int, layers: int) -> Page:
        """With its picture."""
        page = self._opened(mode, n, layers)
        page.evaluate(CLICK_TO_PAINT)
        return page

    def _opened(self, mode: str, n: int, layers: int) -> Page:
        self.seed += 1  # nothing of an earlier picture is kept for it
        page = self.browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"{self.address}/?mode={mode}&n={n}&layers={layers}&seed={self.seed}")
        page.locator('[data-testid="stButton"] button').wait_for()
        page.wait_for_timeout(500)
        return page


def _against_bertviz(grid: float, lines: float) -> list[Figure]:
    ours = len(as_html(payload_of("grid", trace_of(128)), "All heads"))
    said = f"{grid:.2f} s, {ours / 1e6:.2f} MB as a page"
    mine = [
        Figure("144 heads at 128 tokens: to the picture, size", "", said),
        Figure("lines of 12 heads at 256 tokens: to the picture", "", f"{lines:.2f} s"),
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not bertviz_page.install(folder):
            return [*mine, Figure("the same with BertViz", "", "not installed: PyPI, npm needed")]
        model = bertviz_page.show(folder, "model", 128)
        head = bertviz_page.show(folder, "head", 256)
        alone = bertviz_page.show(folder, "head", 256, layers=1)
    smaller = model.bytes / ours
    size = f"{smaller:.0f} x ({model.bytes / 1e6:.1f} : {ours / 1e6:.2f} MB)"
    return [
        *mine,
        _faster("144 heads at 128 tokens : BertViz's model_view", grid, model, 50),
        Figure("... bytes of a page that opens offline", ">= 50 x smaller", size, smaller >= 50),
        _faster("lines at 256 tokens : BertViz's head_view", lines, head, 20),
        _faster("... : its head_view of that layer alone", lines, alone, None),
    ]


def _faster(what: str, ours: float, peer: Shown, goal: int | None) -> Figure:
    times = peer.seconds / ours
    return Figure(
        what,
        "" if goal is None else f">= {goal} x faster",
        f"{times:.0f} x ({ours:.2f} s : {peer})",
        None if goal is None else times >= goal,
    )


def _at_most(what: str, seconds: float, goal: float) -> Figure:
    return Figure(what, f"<= {goal} s", f"{seconds:.2f} s", seconds <= goal)


def _tile(n: int) -> Figure:
    """On the server: 171 cells in view and a margin around them, the overview already sent."""
    trace = trace_of(n, layers=1)
    have = map_payload(trace, LAYER, HEAD).id
    size = 171
    taken = []
    for at in (n // 2, n // 3, n // 4, n // 5, 2 * n // 3):
        view = Viewport((at, at + size), (at // 2, at // 2 + size), have)
        start = time.perf_counter()
        payload = map_payload(trace, LAYER, HEAD, view)
        payload.encode()
        taken.append(time.perf_counter() - start)
        assert payload.tile is not None and payload.tile.side == 1
        assert min(payload.tile.codes.shape) >= 255
    best = 1000 * statistics.median(taken)
    return Figure(
        f"an exact tile of 256 x 256 cells of {n:,} tokens, on the server",
        "<= 100 ms",
        f"{best:.0f} ms",
        best <= 100,
    )


def _hand(page: Page) -> list[Figure]:
    """Moving over a map and moving it, and what the server hears of it."""
    canvas = CanvasOn(page)
    zoom, zoom_draw = canvas.run(MOVING, "zoom")
    canvas.run("mode.reset(); mode.zoom(6, 500, 400);")
    pan, pan_draw = canvas.run(MOVING, "pan")
    canvas.run("mode.reset();")
    canvas.settle()
    tip, seen = canvas.run(HOVER)
    page.wait_for_timeout(1000)
    sent = _messages(page, canvas)
    frame = max(zoom, pan)
    return [
        Figure(
            "zooming and panning a map of 1,024 x 1,024: the median frame",
            "<= 17 ms",
            f"{frame:.1f} ms (zoom {zoom:.1f}, pan {pan:.1f}; "
            f"drawing takes {zoom_draw:.1f} and {pan_draw:.1f})",
            frame <= 17,
        ),
        Figure("hover to tooltip", "< 10 ms", f"{tip:.1f} ms", seen > 0 and tip < 10),
        Figure("messages to the server for 30 hovers", "0", str(sent), sent == 0),
    ]


def _messages(page: Page, canvas: CanvasOn) -> int:
    """What the page sends while a mouse moves over its map."""
    session = page.context.new_cdp_session(page)
    sent: list[object] = []
    session.send("Network.enable")
    for event in ("Network.webSocketFrameSent", "Network.requestWillBeSent"):
        session.on(event, lambda message: sent.append(message))
    for i in range(30):
        canvas.point(300 + 7 * i, 400 + 4 * i)
    page.wait_for_timeout(1000)
    hovers = len(sent)
    page.mouse.down()  # a click on a cell is told to the server: the count does count
    page.mouse.up()
    page.wait_for_timeout(1000)
    if len(sent) == hovers:
        raise RuntimeError("The benchmark does not see what the page sends.")
    return hovers


if __name__ == "__main__":
    show(TITLE, measure)
