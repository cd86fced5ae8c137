"""A trace as one page: its size, its numbers beside the backend's, and a head from click to paint.

    python -m benchmarks.trace_page

A paint's time begins with a click on a head in the page's grid and ends when the frame with the
head's map, its strip and its explanation is through.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Browser, sync_playwright

import attnviz
from attnviz.trace import Model, Trace
from benchmarks.figure import Figure, show
from tests.browser import chromium
from tests.browser.trace_page import HEAD, Opened, TracePage

TITLE = "A trace as one page (SmolLM2-135M, in Chromium)"
SENTENCE = "When Mary and John went to the store, John gave a drink to"
PARAGRAPH = (
    "Attention weighs what a model has read so far. Each head asks its own question of every "
    "token: one looks for the word before, another for the subject of the sentence, a third for "
    "the last time that the same word was written, and many rest on the first token. "
)
CLICKS = 15

# Milliseconds from a click on a head of the grid until its frame is through.
CLICK = """async ([layer, number]) => {
    const view = document.getElementById("trace").attnviz;
    const { mode, stage } = view.grid;
    const one = mode.shown.find((h) => h.layer === layer && h.head === number);
    stage.scroll.scrollTop = Math.max(0, one.y - 100);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)));
    const box = stage.picture.getBoundingClientRect();
    const at = { bubbles: true, pointerId: 1, isPrimary: true, button: 0,
        clientX: box.left + one.x + one.w / 2,
        clientY: box.top + one.y + one.h / 2 - stage.scroll.scrollTop };
    const painted = view.head.stage.painted;
    stage.picture.setPointerCapture = () => {};
    const start = performance.now();
    stage.picture.dispatchEvent(new PointerEvent("pointerdown", at));
    stage.picture.dispatchEvent(new PointerEvent("pointerup", at));
    for (;;) {
        await new Promise(requestAnimationFrame);
        const { layer: l, head: h } = view.state;
        if (l === layer && h === number && view.head.stage.painted > painted) break;
    }
    await new Promise((done) => setTimeout(done));
    return performance.now() - start;
}"""


def text_of(model: Model, n: int) -> str:
    """The beginning of a paragraph that has n tokens."""
    ids = model.tokenizer(PARAGRAPH * 20)["input_ids"][:n]
    return str(model.tokenizer.decode(ids))


def worst(page: TracePage, trace: Trace) -> tuple[float, float]:
    """Largest difference of a weight: to the backend, and to double precision from its Q and K."""
    to_backend = to_double = 0.0
    for layer in trace.layers:
        for head in range(layer.n_heads):
            a = trace.attention(layer.index, head)
            seen: dict[str, Any] = page.page.evaluate(HEAD, [layer.index, head])
            weights = np.array(seen["weights"])
            scores = a.q.double() @ a.k.double().T * (a.scaling or 1.0)
            masked = a.masked()
            exact = scores if masked is None else scores.masked_fill(masked, -torch.inf)
            to_backend = max(to_backend, float(np.abs(weights - a.weights().numpy()).max()))
            to_double = max(to_double, float(np.abs(weights - exact.softmax(-1).numpy()).max()))
    return to_backend, to_double


def clicks(page: TracePage) -> list[float]:
    """Milliseconds from a click to the painted head, each of another layer."""
    page.wait("view.unpacked")
    heads = [(2 * i % 30, i % 9) for i in range(CLICKS)]
    return [page.page.evaluate(CLICK, list(head)) for head in heads]


def measure() -> list[Figure]:
    """The table's lines."""
    model = attnviz.load("smollm2-135m", device="cpu")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        figures = [
            *_of(model.trace(SENTENCE), 4e6, 1e-6, browser, Path(folder)),
            *_of(model.trace(text_of(model, 256)), 25e6, 1e-3, browser, Path(folder)),
        ]
        browser.close()
    return figures


def _of(trace: Trace, most: float, close: float, browser: Browser, folder: Path) -> list[Figure]:
    n = len(trace.tokens)
    opened = Opened(browser, folder)
    start = time.perf_counter()
    page = opened(trace, title="SmolLM2 135M")
    written = time.perf_counter() - start
    size = max(file.stat().st_size for file in folder.glob("*.html"))
    to_backend, to_double = worst(page, trace)
    figures = [
        Figure(f"size, {n} tokens", f"≤ {most / 1e6:.0f} MB", f"{size / 1e6:.1f} MB", size <= most),
        Figure(
            f"weights of all heads, {n} tokens, from double precision", f"≤ {close:.0e}",
            f"{to_double:.1e}", to_double <= close,
        ),
        Figure(f"from the backend's single precision, {n} tokens", "", f"{to_backend:.1e}"),
        Figure(f"written and opened, {n} tokens", "", f"{written:.1f} s"),
    ]  # fmt: skip
    times = clicks(page)
    median = statistics.median(times)
    told = f"{median:.0f} ms (up to {max(times):.0f})"
    figures.append(
        Figure(f"a head from click to paint, {n} tokens", "≤ 50 ms", told, median <= 50.0)
    )
    opened.close()
    return figures


if __name__ == "__main__":
    show(TITLE, measure)
