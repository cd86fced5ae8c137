"""What docs/contributing.md tells a contributor to write works as it stands there."""

from __future__ import annotations

import json
import re
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


def test_the_navigation_with_a_new_page_is_the_apps() -> None:
    registered = examples()[2].splitlines()[-1]
    assert registered.replace(" metrics,", "") in (ROOT / "app.py").read_text(encoding="utf-8")


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
    weights = trace.layers[0].n_heads
    exact = [
        float(trace.attention(0, h).weights().tril(-1).sum()) / len(trace.tokens)
        for h in range(weights)
    ]
    np.testing.assert_allclose(drawn, exact, atol=1e-5)
    assert json.loads(element.proto.spec)["encoding"]["x"]["axis"]["title"] == METRICS[name].title
    assert [getattr(m, name) for m in layer_metrics(trace, 0)] == pytest.approx(exact, abs=1e-5)
    assert f"`{name}`" in table(METRICS.values())
