"""Frames in a notebook's page, as each front end puts them there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Frame, Page

import attnviz
from attnviz.trace import Trace
from tests.browser.apps.canvas_app import trace_of
from tests.browser.trace_page import HEAD

# VS Code's and marimo's outputs: HTML put in place, where scripts of its own don't run, under a
# policy that a frame's page inherits.
INSERTED = """<!doctype html><meta http-equiv="Content-Security-Policy"
content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<body style="margin: 20px"><div id="output" style="width: 860px"></div>"""


@pytest.fixture(scope="module")
def trace() -> Trace:
    return trace_of("decoder", 20)


@pytest.fixture
def notebook(browser: Browser) -> Iterator[Page]:
    """A notebook's page, cut off from every network; at the end nothing went wrong on it."""
    context = browser.new_context(viewport={"width": 900, "height": 900}, offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    yield page
    context.close()
    assert not problems


def shown(page: Page, text: str, inserted: bool) -> Frame:
    """The frame in some output, when its page has started."""
    page.set_content(INSERTED if inserted else f"<!doctype html><body>{text}")
    if inserted:
        page.evaluate("(text) => { document.getElementById('output').innerHTML = text; }", text)
    page.wait_for_function("() => window.frames.length === 1")
    frame = page.frames[1]
    frame.wait_for_selector(".picture")
    return frame


@pytest.mark.parametrize("inserted", [True, False])
def test_a_trace_runs_in_its_frame(notebook: Page, trace: Trace, inserted: bool) -> None:
    frame = shown(notebook, trace._repr_html_(), inserted)
    frame.wait_for_function("() => document.getElementById('trace').attnviz.shownAt > 0")
    found = frame.evaluate(HEAD, [1, 2])
    exact = trace.attention(1, 2).weights().numpy()
    assert np.abs(np.array(found["weights"]) - exact).max() < 1e-6
    assert frame.evaluate("() => self.origin") == "null"  # not the notebook's own
    frame.evaluate("() => document.getElementById('trace').attnviz.change({ layer: 0, head: 1 })")
    frame.wait_for_function(
        "() => document.querySelector('.explain h2').textContent === 'Layer 0, head 1'"
    )
    assert notebook.evaluate("() => history.length") <= 2  # Back leaves the notebook as before
    assert notebook.evaluate("() => location.hash") == ""


def test_a_head_and_a_grid_run_in_their_frames(notebook: Page, trace: Trace) -> None:
    frame = shown(notebook, trace.attention(1, 2)._repr_html_(), True)
    frame.wait_for_function("() => document.getElementById('trace').attnviz.shownAt > 0")
    assert not frame.locator(".part.grid").is_visible()
    assert frame.locator(".explain h2").inner_text() == "Layer 1, head 2"
    frame.get_by_role("button", name="Neuron", exact=True).click()
    frame.wait_for_function(
        "() => document.querySelector('.part.head .canvas-root').dataset.mode === 'neuron'"
    )
    grid = shown(notebook, attnviz.show_heads(trace)._repr_html_(), True)
    grid.wait_for_function(
        "() => document.querySelector('.canvas-root').attnviz.mode?.shown.length === "
        f"{sum(layer.n_heads for layer in trace.layers)}"
    )


def test_a_frame_leaves_nothing_of_the_notebook_to_scroll_sideways(
    notebook: Page, trace: Trace
) -> None:
    frame = shown(notebook, trace._repr_html_(), True)
    assert frame.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
