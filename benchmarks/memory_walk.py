"""The server's memory over one person's walk through everything, in a real browser.

    python -m benchmarks.memory_walk

Forty texts of 20 to 2,000 tokens in four models, every view of some head of each, pinned heads,
text that a model writes, and a training that is watched: on a server of its own, whose resident
memory is read many times a second. What it is at rest afterwards, less the weights of the largest
model that was loaded, and its peak are the figures. The training's own process is not the server.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import psutil
from playwright.sync_api import Page, sync_playwright

import attnviz
from benchmarks.figure import Figure, show
from benchmarks.server import serve
from tests.browser import chromium

TITLE = "The server's memory over a walk through everything"
GIB = 1 << 30
REST, PEAK = 1.5 * GIB, 3 * GIB
LARGEST = "smollm2-135m"
WORDS = tuple(
    "the cat sat on a mat because it was tired of all old dogs and when night came they went home "  # noqa: SIM905
    "to see what John had left for Mary in that big box by an open door".split()
)
# About as many tokens has each text; the last two models read letter by letter.
LENGTHS = {  # the largest model comes last, so that it is in memory at the end
    "minilm-l6": (20, 50, 90, 140, 190, 240, 300, 360, 420, 480),
    "tiny-induction": (20, 60, 120, 180, 240, 300, 380, 460),
    "tiny-dates": (20, 25, 30, 35, 40, 45, 50, 55),
    LARGEST: (20, 60, 150, 250, 350, 500, 700, 900, 1100, 1300, 1500, 1700, 1850, 2000),
}
LETTERS = ("tiny-induction", "tiny-dates")
Told = Callable[[str], None]
VIEWS = ("Scores", "Lines", "Neuron", "Q", "K", "V", "Output", "Map")
SETTLED_MS = 4_000  # the server finds that it has nothing to do, and tidies up
STILL = """() => document.querySelector('[data-testid="stApp"]')
    ?.getAttribute('data-test-script-state') === 'notRunning'"""


def measure() -> list[Figure]:
    """Resident memory at rest after the walk, and the most there was."""
    got = walk()
    weights = attnviz.load(LARGEST).nbytes
    rest = got["rest"] - weights
    return [
        Figure(
            "server at rest after the walk, less its largest model's weights",
            f"<= {REST / GIB:.1f} GiB",
            f"{rest / GIB:.2f} GiB ({got['rest'] / GIB:.2f} - {weights / GIB:.2f})",
            rest <= REST,
        ),
        Figure(
            "the server's peak",
            f"<= {PEAK / GIB:.1f} GiB",
            f"{got['peak'] / GIB:.2f} GiB",
            got["peak"] <= PEAK,
        ),
    ]


def walk(say: bool = False) -> dict[str, float]:
    """Bytes of the server's resident memory: at ``rest`` and at the ``peak``."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve("app.py", environment={"ATTNVIZ_JOBS": folder}) as address,
        sync_playwright() as playwright,
        _watched() as memory,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(600_000)

        def told(what: str) -> None:
            if say:
                print(what, memory, flush=True)

        for name, lengths in LENGTHS.items():
            _explore(page, address, name, lengths, told)
        _train(page, address)
        page.wait_for_timeout(SETTLED_MS)
        rest = memory.now()
        told("at rest:")
        browser.close()
    return {"rest": rest, "peak": memory.peak}


def _explore(page: Page, address: str, name: str, lengths: tuple[int, ...], told: Told) -> None:
    """Every text in one model, and for each another head in one view after the other."""
    texts = [_text(random.Random(n), n, name in LETTERS) for n in lengths]
    link = {"model": name, "text": texts[0], "pins": "0.0,1.1", "draw_tokens": 20}
    page.goto(f"{address}/explore?{urlencode(link)}")
    for i, text in enumerate(texts):
        _put(page, text)
        for view in VIEWS if i % 3 == 0 else VIEWS[i % len(VIEWS) :][:2]:
            page.get_by_role("radio", name=view, exact=True).click(force=True)
            _still(page)
        page.get_by_label("Head", exact=True).last.press("ArrowRight")
        _still(page)
        told(f"{name}, {lengths[i]} tokens:")
    if page.get_by_role("button", name="Generate", exact=True).count():
        _put(page, texts[1])
        for _ in range(2):
            page.get_by_role("button", name="Generate", exact=True).click()
            _still(page)
        told(f"{name}, written:")


def _train(page: Page, address: str) -> None:
    """A small transformer trained from scratch, watched until it is done."""
    page.goto(f"{address}/train")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("What it learned").wait_for()
    _still(page)


def _still(page: Page) -> None:
    """Wait until the page has begun to answer and is done."""
    page.wait_for_timeout(300)
    page.wait_for_function(STILL)


def _put(page: Page, text: str) -> None:
    """Another text in the box."""
    box = page.get_by_label("Text", exact=True).first
    box.fill(text)
    box.press("Control+Enter")
    _still(page)


def _text(draw: random.Random, tokens: int, letters: bool) -> str:
    words = " ".join(draw.choices(WORDS, k=tokens))
    return words[:tokens] if letters else words


class Memory(threading.Thread):
    """Reads one process's resident memory until it is told to end."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.peak = 0
        self.ended = threading.Event()

    def now(self) -> int:
        return int(self.process.memory_info().rss)

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, self.now())

    def __str__(self) -> str:
        return f"{self.now() / GIB:.2f} GiB, peak {self.peak / GIB:.2f} GiB"


@contextmanager
def _watched() -> Iterator[Memory]:
    """The memory of the server that this process has started."""
    servers = [p for p in psutil.Process().children() if "streamlit" in p.cmdline()]
    memory = Memory(servers[0])
    memory.start()
    try:
        yield memory
    finally:
        memory.ended.set()
        memory.join()


if __name__ == "__main__":
    if sys.argv[1:] == ["--steps"]:
        walk(say=True)
    else:
        show(TITLE, measure)
