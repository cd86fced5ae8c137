"""What docs/contributing.md tells a contributor to write works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest
from torch import Tensor

import attnviz
from attnviz.analysis.heads import layer_metrics
from attnviz.analysis.metrics import METRICS, metric, table
from attnviz.analysis.positions import Tile, Tokens

ROOT = Path(__file__).parent.parent.parent
TEXT = "The capital of France is"


def examples() -> list[str]:
    """The Python in the guide: a metric, a page, and the page's registration."""
    guide = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


@pytest.fixture
def name() -> Iterator[str]:
    """The guide's metric, registered."""
    before = set(METRICS)
    exec(examples()[0], {"metric": metric, "Tile": Tile, "Tokens": Tokens, "Tensor": Tensor})
    (new,) = set(METRICS) - before
    yield new
    del METRICS[new]


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of the repository to which the guide's metric and page were added."""
    metric, page, registration = examples()
    copy = tmp_path / "attnviz"
    ignored = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)
    shutil.copytree(ROOT / ".streamlit", copy / ".streamlit")
    insert(copy / "attnviz" / "analysis" / "metrics.py", metric + "\n\n", before="class Means:")
    insert(copy / "app.py", registration, before='    st.Page("pages/docs.py"')
    (copy / "pages" / "metrics.py").write_text(page, encoding="utf-8")
    return copy


def insert(file: Path, text: str, before: str) -> None:
    start, end = file.read_text(encoding="utf-8").split(before)
    file.write_text(start + text + before + end, encoding="utf-8")


def test_the_tests_cover_a_new_metric_and_page_by_themselves(extended: Path) -> None:
    """Three files were touched, none of them a test; they pass the linter as well."""
    for check in (["check"], ["format", "--check"]):
        touched = ["app.py", "pages/metrics.py", "attnviz/analysis/metrics.py"]
        subprocess.run([sys.executable, "-m", "ruff", *check, *touched], cwd=extended, check=True)
    files = ["tests/unit/analysis/test_metrics.py", "tests/browser/test_pages.py"]
    selected = "backward or every_page or (first_visitor and metrics)"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files, "-k", selected],
        cwd=extended,
        env={**os.environ, "PYTHONPATH": str(extended)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    for name in (
        "test_a_metric_is_its_definition_on_the_whole_matrix[windowed-None-backward]",
        "test_a_servers_first_visitor_with_a_link[/metrics]",
        "test_every_page_is_registered",
    ):
        assert f"{name} PASSED" in done.stdout


def test_a_new_metric_and_a_page_that_shows_it(name: str, tmp_path: Path) -> None:
    page = tmp_path / "metrics.py"
    page.write_text(examples()[1], encoding="utf-8")
    app = AppTest.from_file(page, default_timeout=120).run()
    assert not app.exception
    assert METRICS[name].title in app.selectbox(key="metric").options
    app.selectbox(key="metric").set_value(name).run()
    app.text_area(key="text").set_value(TEXT).run()
    assert not app.exception
    (element,) = app.get("vega_lite_chart")
    (dataset,) = element.proto.datasets
    drawn = pa.ipc.open_stream(dataset.data.data).read_all()["value"].to_numpy()
    trace = attnviz.load("smollm2-135m").trace(TEXT)
    layer = app.slider(key="layer").value  # the model's first example chose it
    exact = [
        float(trace.attention(layer, h).weights().tril(-1).sum()) / len(trace.tokens)
        for h in range(trace.layers[layer].n_heads)
    ]
    np.testing.assert_allclose(drawn, exact, atol=1e-5)
    assert json.loads(element.proto.spec)["encoding"]["x"]["axis"]["title"] == METRICS[name].title
    assert [getattr(m, name) for m in layer_metrics(trace, layer)] == pytest.approx(exact, abs=1e-5)
    assert f"`{name}`" in table(METRICS.values())
