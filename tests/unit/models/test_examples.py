"""Each example's claim, computed in the model that it is of."""

from __future__ import annotations

import re

import pytest

import attnviz
from attnviz.models import catalog, examples
from attnviz.models.examples import Example
from attnviz.models.images import as_rgb
from attnviz.train.tasks.digits import as_image, load_images

ENTRIES = [entry for entry in catalog.entries() if entry.source.is_relative_to(catalog.SHIPPED)]
ENTRIES += [entry for entry in catalog.entries() if entry.name in ("smollm2-135m", "minilm-l6")]


def trace_of(model: attnviz.Model, example: Example) -> attnviz.Trace:
    if example.digit is None:
        return model.trace(example.text, target=example.target or None, pair=example.pair or None)
    images, labels = load_images()
    first = int((labels == example.digit).nonzero()[0])
    return model.trace(image=as_rgb(as_image(images[first])))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_example_is_true(entry: catalog.CatalogEntry) -> None:
    assert 2 <= len(entry.examples) <= 4
    model = attnviz.load(entry.name, device="cpu")
    for example in entry.examples:
        trace = trace_of(model, example)
        layer = [one for one in trace.layers if one.kind == example.kind][example.layer]
        weights = trace.attention(layer.index, example.head).weights()
        weight = float(weights[example.query, example.key])
        # as rounded to four decimals; float32 differs by some 1e-6 from processor to processor
        assert weight == pytest.approx(example.weight, abs=1e-4)
        assert weight >= 3 / len(weights[example.query])  # uniform attention gives at most a third
        assert f"({example.weight:.2f})" in example.about
        query = trace.row_tokens(layer.index)[example.query].text.strip()
        key = trace.col_tokens(layer.index)[example.key].text.strip()
        quoted = re.findall(r"“(.+?)”", example.about)
        assert key in quoted
        assert query in quoted or query in example.about or example.query == layer.n_q - 1
        if example.answer:
            likeliest = trace.predictions(k=1)[0].token
            assert likeliest == example.answer
            assert likeliest.strip() in example.about or entry.name == "tiny-induction"


def test_titles_differ() -> None:
    for entry in ENTRIES:
        assert len({example.title for example in entry.examples}) == len(entry.examples)


SOUND = {
    "title": "One", "about": "It attends.", "kind": "decoder", "layer": 0, "head": 1,
    "query": 2, "key": 1, "weight": 0.5, "text": "a b c",
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"layer": -1}, {"head": 1.5}, {"head": True}, {"kind": "sideways"}, {"weight": 2},
        {"weight": "0.5"}, {"text": 7}, {"text": "x" * 3000}, {"digit": 12}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_example_is_left_out(change: dict[str, object]) -> None:
    found = examples.from_json([SOUND, SOUND | change, "soup", None])
    assert found == (Example(**SOUND),)  # type: ignore[arg-type]
    assert examples.from_json({"title": "One"}) == ()
