"""What a rerun of Explore sends over the websocket when nothing but the head has changed.

    python -m benchmarks.rerun_bytes

Presses a key on the head's slider and counts every frame from the server until the script has
finished.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, WebSocket, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.figure import Figure, show
from benchmarks.server import serve
from tests.browser import chromium

PRESSES = 6
GOAL_KB = 60
IDLE = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    const busy = !app || app.dataset.testScriptState !== 'notRunning'
        || app.dataset.testConnectionState !== 'CONNECTED';
    const now = performance.now();
    if (busy) { window.__quietSince = now; return false; }
    window.__quietSince ??= now;
    return now - window.__quietSince > 1000;
}"""

TITLE = "Explore: bytes of a rerun when only the head has changed"


@dataclass
class Received:
    """What the server sent.

    Attributes:
        sizes: bytes by element.
        code: bytes of the canvas's script and style among them.
    """

    sizes: Counter[str] = field(default_factory=Counter)
    code: int = 0

    def add(self, frame: str | bytes) -> None:
        """Count one websocket frame."""
        if isinstance(frame, str):
            return
        message = ForwardMsg.FromString(frame)
        kind = message.WhichOneof("type") or "empty"
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            kind = element.WhichOneof("type") or "empty"
            if kind == "bidi_component":
                sent = element.bidi_component
                self.code += len(sent.js_content.encode()) + len(sent.css_content.encode())
                kind = f"canvas {sent.id.rsplit('-', 1)[-1]}"
        self.sizes[kind] += len(frame)

    @property
    def total(self) -> int:
        return sum(self.sizes.values())


def measure() -> list[Figure]:
    """Kilobytes of a rerun, and how many of them are the canvas's own code."""
    runs = run()
    total = statistics.median(one.total for one in runs) / 1e3
    code = statistics.median(one.code for one in runs) / 1e3
    return [
        Figure("another head", f"<= {GOAL_KB} kB", f"{total:.1f} kB", total <= GOAL_KB),
        Figure("of these the canvas's script and style", "0 kB", f"{code:.1f} kB", code == 0),
    ]


def run() -> list[Received]:
    """One record a key press; two presses before them warm the caches up."""
    with sync_playwright() as playwright, serve("app.py") as address:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        page, received = _opened(browser, address)
        runs = []
        for _ in range(PRESSES + 2):
            before = len(received)
            received.append(Received())
            page.keyboard.press("ArrowRight")
            _idle(page)
            runs.append(received[before])
        browser.close()
    return runs[2:]


def _opened(browser: Browser, address: str) -> tuple[Page, list[Received]]:
    """Explore with the head's slider focused; frames are added to the last record."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    received = [Received()]

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: received[-1].add(frame))

    page.on("websocket", listen)
    page.goto(f"{address}/explore?model=smollm2-135m")
    slider = page.locator('input[type=range][aria-label="Head"]')
    slider.wait_for(state="attached", timeout=120_000)
    _idle(page)
    slider.focus()
    return page, received


def _idle(page: Page) -> None:
    """Wait until no script has run for a second."""
    page.wait_for_timeout(300)  # the slider's own delay
    page.evaluate("() => { delete window.__quietSince; }")
    page.wait_for_function(IDLE, polling=50, timeout=120_000)


if __name__ == "__main__":
    show(TITLE, measure)
    for name, size in run()[-1].sizes.most_common():
        print(f"{size / 1e3:9.1f} kB  {name}")
