"""What shows itself in a notebook; and docs/notebook.ipynb, cell by cell."""

from __future__ import annotations

import ast
import gc
import html
import json
import subprocess
import sys
import weakref
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from attnviz.canvas import notebook
from attnviz.trace import AttentionMap
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import QKVRecord
from tests.browser.apps.canvas_app import trace_of

ROOT = Path(__file__).parents[3]
NOTEBOOK = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))


class Frames(HTMLParser):
    """The frames of some HTML, and the words outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.frames: list[dict[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ("div", "span", "iframe")
        if tag == "iframe":
            self.frames.append(dict(attributes))

    def handle_data(self, data: str) -> None:
        self.words += data


def framed(shown: Any) -> str:
    """The page in the one frame that something shows."""
    (frame,) = Frames(shown._repr_html_()).frames
    assert frame["sandbox"] == "allow-scripts allow-downloads"  # not the notebook's origin
    page = frame["srcdoc"]
    assert page is not None
    return page


@pytest.fixture(scope="module")
def trace():
    return trace_of("decoder", 20)


def test_a_trace_is_its_page(trace):
    page = framed(trace)
    assert page.startswith("<!doctype html>")
    assert page == framed(trace.show())


def test_options_reach_the_page(trace):
    text = trace.show(height=321, theme="dark", title="a & b")._repr_html_()
    assert "height: 321px" in text
    assert "color-scheme: dark" in text
    assert html.escape("<title>a &amp; b") in text


def test_a_head_is_a_page_of_its_own(trace):
    page = framed(trace.attention(1, 2))
    assert "Layer 1, head 2" in page
    assert page.count('<script type="text/plain"') == 5  # q, k, v and a mask of two arrays
    assert framed(trace).count('<script type="text/plain"') > 5


def test_a_head_keeps_its_layer_and_not_the_trace():
    trace = trace_of.__wrapped__("decoder", 9)  # not the one that is kept
    head, gone = trace.attention(0, 0), weakref.ref(trace)
    del trace
    gc.collect()
    assert gone() is None
    assert "head 0" in framed(head)


def test_a_map_of_a_record_alone_has_numbers_for_tokens():
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 5, 4, generator=g)
    page = framed(AttentionMap(QKVRecord(q, k, v, ScoreModifiers(0.5)), 1))
    assert '"names": [["0", "1", "2", "3", "4"]]' in page
    assert "unchecked" in page


def test_a_long_trace_shows_its_grid_and_says_how_to_see_the_rest(trace, monkeypatch):
    monkeypatch.setattr(notebook, "AUTOMATIC_UP_TO", 100)
    shown = Frames(trace._repr_html_())
    assert "trace.show()" in shown.words
    assert 'id="index"' not in (shown.frames[0]["srcdoc"] or "")  # the grid's canvas alone
    assert 'id="index"' in framed(trace.show())  # asked for, it is all of it


def test_a_notebook_that_is_not_trusted_says_so(trace):
    assert "trusted" in Frames(trace._repr_html_()).words


def test_recording_does_not_load_what_draws():
    program = (
        "import sys, attnviz, attnviz.trace.trace; "
        "assert not [m for m in sys.modules if m.startswith('attnviz.canvas')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_notebook_in_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a kernel does: each cell's last expression is what it shows."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown: list[Any] = []
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            shown.append(run("".join(cell["source"]), names))
    tokens, whole, heads, head, strongest, light, receipt, path = shown
    assert tokens == (14, 30)
    assert [len(Frames(x._repr_html_()).frames) for x in (whole, heads, head, light)] == [1] * 4
    assert strongest == (" gave", pytest.approx(0.598, abs=1e-3))
    assert receipt == (True, True)
    assert (tmp_path / path).stat().st_size < 4_000_000


def test_the_notebook_in_docs_is_one():
    assert NOTEBOOK["nbformat"] == 4
    for cell in NOTEBOOK["cells"]:
        assert cell["metadata"] == {} and cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None  # they are megabytes


def run(source: str, names: dict[str, Any]) -> Any:
    *before, last = ast.parse(source).body
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None
