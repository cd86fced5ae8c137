"""A page's file: what it holds, and that it is what the JavaScript tests were told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import attnviz
from attnviz.canvas.page import page_html
from attnviz.canvas.page_layers import layer_numbers, storage_error
from attnviz.canvas.tensor_store import Codes, TensorStore
from attnviz.errors import AttnVizError
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import QKVRecord
from tests.browser.apps.canvas_app import trace_of
from tests.unit.canvas.page_heads import FILE, fixture


@pytest.fixture(scope="module")
def trace():
    return trace_of("decoder", 24)


def index_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="index">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_truth_of_the_javascript_tests_is_the_backends():
    kept, now = json.loads(FILE.read_text(encoding="utf-8")), fixture()
    assert [layer["title"] for layer in kept["layers"]] == [
        layer["title"] for layer in now["layers"]
    ]
    for layer, before, after in zip(now["layers"], kept["expected"], now["expected"], strict=True):
        for a, b in zip(before, after, strict=True):
            for name in ("weights", "scores", "output"):
                x, y = (np.array(one[name], dtype=float) for one in (a, b))
                # another processor adds in another order: numbers of some units, from two layers
                # in float32, come within 2e-6 even where they nearly cancel
                assert np.allclose(x, y, rtol=1e-5, atol=5e-6, equal_nan=True), layer["title"]
            assert a["masked"] == b["masked"]


def test_a_file_is_one_page(trace, tmp_path: Path):
    path = attnviz.page(trace, tmp_path / "trace.html", title="<b>A & B</b>")
    text = path.read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;A &amp; B&lt;/b&gt;" in text
    assert index_of(text)["title"] == "<b>A & B</b>"
    addresses = set(re.findall(r"https?://[^\"' ]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    # tokens are in JSON, which has no "<": they can't end the script they are in
    assert "<img" not in text


def test_arrays_that_layers_share_are_kept_once(trace):
    index = index_of(page_html(trace))
    masks = {layer["terms"][0]["hi"]["blob"] for layer in index["layers"]}
    assert len(masks) == 1
    assert len({layer["q"]["blob"] for layer in index["layers"]}) == len(index["layers"])


def test_the_size_grows_with_the_text_and_not_with_its_square():
    sizes = [len(page_html(trace_of("decoder", n), storage="float32")) for n in (50, 100, 200, 400)]
    added = np.diff(sizes)
    # from 200 to 400 tokens as many numbers come as there were: thumbnails have a fixed size
    assert added[2] < 2.2 * added[1]


def test_sixteen_bits_are_half_as_large_and_as_close_as_promised(trace):
    assert len(page_html(trace, storage="16 bits")) < len(page_html(trace, storage="float32"))
    record = trace.layer_record(1)
    codes = tuple(Codes.of(t[0]) for t in (record.q, record.k, record.v))
    for array, found in zip((record.q, record.k, record.v), codes, strict=True):
        step = torch.from_numpy(found.step)[:, None]
        assert bool(((found.decode() - array[0]).abs() <= step * 0.51 + 1e-7).all())
    told = storage_error(record, 0, codes)
    assert 0 < told.weights < 1e-4
    assert told.rows == told.total_rows == 24


def test_a_channel_of_one_number_and_one_outlier_survive_sixteen_bits():
    array = torch.randn(2, 9, 4)
    array[0, :, 1] = 3.25
    array[1, :, 2] += 4000.0
    back = Codes.of(array).decode()
    assert torch.equal(back[0, :, 1], array[0, :, 1])
    assert float((back[1, :, 2] - array[1, :, 2]).abs().max()) < 1e-3


def test_a_layer_that_sixteen_bits_would_spoil_is_kept_in_float32():
    g = torch.Generator().manual_seed(0)
    q = 100 * torch.randn(1, 2, 40, 8, generator=g)
    sides = torch.where(torch.arange(40) % 2 == 0, 100.0, -100.0)[:, None]
    k = sides + 0.01 * torch.randn(1, 2, 40, 8, generator=g)  # alike but for a 20,000th
    record = QKVRecord(q, k, torch.randn(1, 2, 40, 3, generator=g), ScoreModifiers(1.0))
    numbers, error = layer_numbers(TensorStore(), record, 0, slice(0, 2), "16 bits")
    assert numbers["q"]["type"] == "f4"
    assert error.weights == 0.0


def test_what_is_asked_for_has_to_be_there(trace):
    with pytest.raises(AttnVizError, match="no head 9"):
        page_html(trace, selected=(0, 9))
    with pytest.raises(AttnVizError, match="no item 3"):
        page_html(trace, item=3)
