"""A whole trace as one page: what Chromium computes, beside the backend's numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser

import attnviz
from attnviz.canvas.codecs import as_shown
from attnviz.canvas.page_layers import MAX_ERROR
from attnviz.edits import AblateHead, Temperature
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from attnviz.trace.model import Model
from tests.browser.apps.canvas_app import trace_of
from tests.browser.trace_page import Opened, TracePage
from tests.conftest import Visit
from tests.unit.trace.models import BUILD, build, inputs

SENTENCE = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    pages = Opened(browser, tmp_path)
    yield pages
    pages.close()


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def decoder() -> Trace:
    return trace_of("decoder", 40)


def agree(found: TracePage, trace: Trace, item: int = 0, weights: float = 1e-6) -> int:
    """All heads of all layers that are shown, number by number. Returns how many."""
    n = 0
    for layer in trace.layers:
        if layer.source == "refused":
            continue
        for head in range(layer.n_heads):
            a = trace.attention(layer.index, head, item=item)
            seen = found.head(layer.index, head)
            assert seen["weights"] is not None
            mine = a.weights().double().numpy()
            assert np.abs(seen["weights"] - mine).max() <= weights + rounding(a)
            try:
                output = a.output().double().numpy()
            except AttnVizError:
                assert seen["output"] is None
            else:
                assert seen["output"] is not None
                size = np.abs(output).max()
                assert np.abs(seen["output"] - output).max() <= (10 * weights + rounding(a)) * size
            n += 1
    return n


def rounding(a: attnviz.trace.AttentionMap) -> float:
    """What single precision does to a weight of the backend: the page's are of double precision.

    A score's rounding is the unit roundoff of the largest product that was added.
    """
    if a.scaling is None:
        return 0.0
    products = a.q.abs().double() @ a.k.abs().double().T
    return float(products.max()) * abs(a.scaling) * 2.0**-23


@pytest.mark.parametrize("name", BUILD)
def test_every_head_of_every_kind_of_model(opened: Opened, name: str) -> None:
    """Grouped queries, windows, softcap, sinks, values of another width, relative bias,
    cross-attention, ALiBi, and a type outside of transformers' interface."""
    trace = attnviz.wrap(build(name)).trace(inputs=inputs(name))
    page = opened(trace)
    assert agree(page, trace) == sum(layer.n_heads for layer in trace.layers)


def test_the_second_text_of_a_batch_with_its_padding(opened: Opened) -> None:
    given = inputs("bert")
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    given["attention_mask"][1, -3:] = 0
    trace = attnviz.wrap(build("bert")).trace(inputs=given)
    assert agree(opened(trace, item=1), trace, item=1)


def test_from_q_and_k_in_double_precision_it_is_the_same_to_1e_6(
    opened: Opened, model: Model
) -> None:
    """Not the backend's own arithmetic, which is in single precision."""
    trace = model.trace(SENTENCE)
    page = opened(trace)
    causal = torch.ones(14, 14, dtype=torch.bool).tril()
    for layer in (0, 7, 8, 15, 29):
        for head in range(9):
            a = trace.attention(layer, head)
            scores = a.q.double() @ a.k.double().T / 8
            exact = scores.masked_fill(~causal, -torch.inf).softmax(-1)
            seen = page.head(layer, head)
            assert seen["weights"] is not None
            assert np.abs(seen["weights"] - exact.numpy()).max() < 1e-6


def test_sixteen_bits_are_close_and_the_page_says_how_close(opened: Opened, model: Model) -> None:
    trace = model.trace(SENTENCE)
    page = opened(trace, storage="16 bits")
    assert agree(page, trace, weights=MAX_ERROR) == 270
    said = page.page.locator("footer").inner_text()
    assert "16 bits" in said and "measured in all 420 rows" in said
    promised = float(said.split("weights by at most ")[1].split()[0])
    worst = max(
        np.abs(page.head(i, h)["weights"] - trace.attention(i, h).weights().numpy()).max()
        for i in range(30)
        for h in range(9)
    )
    assert 0 < worst <= promised * 1.06  # two digits are written


def test_edited_layers_carry_what_the_edits_left(opened: Opened) -> None:
    edits = (AblateHead(0, 1), Temperature(1, 2, 3.0))
    trace = attnviz.wrap(build("llama")).trace(inputs=inputs("llama"), edits=edits)
    assert agree(opened(trace), trace) == 8


def test_the_number_under_the_hand_is_the_backends(opened: Opened, decoder: Trace) -> None:
    page = opened(decoder, selected=(1, 2))
    page.shows(1, 2)
    x, y = page.run("return head.mode.middleOf([30, 11]);")
    page.point("head", x, y)
    weight = float(decoder.attention(1, 2).weights()[30, 11])
    assert page.tip()["weight"] == as_shown(weight)


def test_a_click_in_the_grid_shows_the_head_and_back_the_one_before(
    opened: Opened, decoder: Trace
) -> None:
    page = opened(decoder, selected=(1, 2))
    page.choose(0, 3)
    page.shows(0, 3)
    assert "layer=0&head=3" in page.page.url
    assert page.page.locator(".explain h2").inner_text() == "Layer 0, head 3"
    assert page.run("return grid.mode.selected;") == [0, 3]
    page.page.go_back()
    page.shows(1, 2)
    page.page.reload()
    page.wait("view.shownAt > 0")
    page.shows(1, 2)


def test_a_token_of_the_strip_is_the_query_everywhere(opened: Opened, decoder: Trace) -> None:
    page = opened(decoder, selected=(1, 2))
    x, y = page.run("const b = strip.mode.boxOf(17); return [b.x + b.w / 2, b.y + b.h / 2];")
    page.point("strip", x, y, click=True)
    page.wait("view.state.token?.index === 17")
    heading = page.page.locator(".explain h3").first.inner_text()
    assert "(17) attends to" in heading
    row = decoder.attention(1, 2).weights()[17]
    first = page.page.locator(".explain button.share b").first.inner_text()
    assert float(first) == pytest.approx(float(row.max()), rel=5e-3)
    page.page.get_by_role("button", name="Neuron", exact=True).click()
    page.wait("head.modeName === 'neuron'")
    assert page.run("return head.mode.query;") == 17
    dots = page.run("return [...head.mode.arrays.dots];")
    a = decoder.attention(1, 2)
    assert np.allclose(dots, (a.q[17] @ a.k.T).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("view", ["Scores", "Q", "K", "V", "Output"])
def test_other_views_show_the_backends_numbers(opened: Opened, decoder: Trace, view: str) -> None:
    page = opened(decoder, selected=(1, 2))
    page.page.get_by_role("button", name=view, exact=True).click()
    page.wait(f"head.mode.header.quantity === '{view.lower() if view == 'Scores' else view}'")
    a = decoder.attention(1, 2)
    truth = {"Q": a.q, "K": a.k, "V": a.v, "Output": a.output(), "Scores": a.scores()}[view]
    x, y = page.run("return head.mode.middleOf([25, 3]);")
    page.point("head", x, y)
    shown = page.tip()["score" if view == "Scores" else view]
    assert float(shown) == pytest.approx(float(truth[25, 3]), rel=1e-4, abs=1e-4)


def test_lines_are_all_weights_from_the_floor_up(opened: Opened, decoder: Trace) -> None:
    page = opened(decoder, selected=(1, 2))
    page.page.get_by_role("button", name="Lines", exact=True).click()
    page.wait("head.modeName === 'lines'")
    n = sum(int((decoder.attention(1, h).weights() >= 0.01).sum()) for h in range(4))
    assert page.run("return head.mode.keys.length;") == n


def test_odd_tokens_are_text_and_never_markup(opened: Opened) -> None:
    trace = trace_of("decoder", 20)  # "</script>" and "<img src=x onerror=...>" among its tokens
    page = opened(trace, title="</title><script>alert(1)</script>")
    assert page.page.locator("h1").inner_text() == "</title><script>alert(1)</script>"
    assert page.run("return strip.mode.names;")[:1] == ["<img src=x onerror=alert(1)>"]
    assert page.page.locator("img").count() == 0


def test_cross_attention_has_its_two_texts(opened: Opened) -> None:
    trace = trace_of("encoder-decoder", 12)
    cross = next(layer for layer in trace.layers if layer.kind == "cross")
    page = opened(trace, selected=(cross.index, 0))
    assert page.run("return strip.mode.sections.map((s) => [s.title, s.names.length]);") == [
        ["Source", cross.n_k],
        ["Target", cross.n_q],
    ]
    assert agree(page, trace)


def test_an_image_is_under_its_weights_patch_by_patch(opened: Opened) -> None:
    digits = attnviz.load("tiny-digits", device="cpu")
    picture = Image.fromarray((np.arange(64).reshape(8, 8) * 4).astype(np.uint8))
    trace = digits.trace(image=picture)
    page = opened(trace, image=picture, selected=(1, 0))
    box = page.page.locator(".patches").bounding_box()
    assert box is not None
    side = box["width"] / 4
    page.page.mouse.click(box["x"] + side * 2.5, box["y"] + side * 1.5)  # patch 1,2
    page.wait("view.state.token?.index === 7")
    row = trace.attention(1, 0).weights()[7]
    beside = page.page.locator(".others button").inner_text()  # CLS
    assert float(beside.split()[-1]) == pytest.approx(float(row[0]), rel=5e-3)
    assert agree(page, trace)


def test_a_refused_layer_says_why_and_the_others_are_there(opened: Opened, decoder: Trace) -> None:
    partly = copy.copy(decoder)
    refused = replace(decoder.layers[0], source="refused", reason="its layout is a secret")
    partly.layers = (refused, *decoder.layers[1:])
    page = opened(partly)
    assert page.run("return view.state.layer;") != 0
    assert page.run("return grid.mode.heads.some((h) => h.layer === 0);") is False
    page.run("return view.change({ layer: 0, head: 0 });")
    page.wait("!view.parts.problem.hidden")
    assert "its layout is a secret" in page.page.locator(".problem").inner_text()


@pytest.mark.parametrize("left", [0, 3])
def test_a_trace_with_nothing_to_show_says_so(opened: Opened, decoder: Trace, left: int) -> None:
    nothing = copy.copy(decoder)
    why = "its layout is a secret"
    nothing.layers = tuple(
        replace(layer, source="refused", reason=why) for layer in decoder.layers[:left]
    )
    page = opened(nothing)
    said = page.page.locator(".problem").inner_text()
    assert said == (f"Layer 0 cannot be shown: {why}." if left else "This trace has no layers.")


def test_four_panes_fit_the_window(opened: Opened, decoder: Trace) -> None:
    for width, height in ((1440, 900), (1920, 1080)):
        page = opened(decoder, width=width, height=height)
        for part in ("strip", "grid", "head", "explain"):
            box = page.page.locator(f".part.{part}").bounding_box()
            assert box is not None
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
            assert box["y"] >= 0 and box["y"] + box["height"] <= height
    narrow = opened(decoder, width=900)
    tops = [
        narrow.page.locator(f".part.{part}").bounding_box()["y"]  # type: ignore[index]
        for part in ("strip", "head", "explain", "grid")
    ]
    assert tops == sorted(tops)
    assert narrow.page.evaluate("document.documentElement.scrollWidth") <= 900


def test_smollm2_fits_four_megabytes_for_a_sentence(opened: Opened, model: Model) -> None:
    page = opened(model.trace(SENTENCE), title="SmolLM2")
    assert (opened._folder / "trace0.html").stat().st_size <= 4_000_000
    assert "Mary" in page.page.locator(".explain section").last.inner_text()


def test_a_long_map_is_pooled_and_its_tile_exact(opened: Opened) -> None:
    trace = trace_of("decoder", 1500)
    page = opened(trace, selected=(1, 2))
    assert page.run("return head.mode.base.pyramid.tile.side;") == 2
    page.run("head.mode.zoom(12, 300, 300);")
    page.wait("head.mode.detail?.tile.side === 1")
    rows, cols = page.run("const v = head.mode.view.visible(); return [v.rows, v.cols];")
    i, j = (rows[0] + rows[1]) // 2, cols[0] + 1
    x, y = page.run("return head.mode.middleOf(argument);", [i, j])
    page.point("head", x, y)
    assert page.tip()["weight"] == as_shown(float(trace.attention(1, 2).weights()[i, j]))


def test_the_button_on_explore_gives_the_page(
    visit: Callable[..., Visit], opened: Opened, model: Model, tmp_path: Path
) -> None:
    text = "The capital of France is"
    page = visit().open(f"/explore?text={quote(text)}&layer=2&head=1")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Whole trace", exact=True).click()
    assert download.value.suggested_filename == "smollm2-135m-trace.html"
    download.value.save_as(tmp_path / "downloaded.html")
    found = opened.file(tmp_path / "downloaded.html")
    found.shows(2, 1)
    weights = found.head(8, 3)["weights"]
    assert weights is not None
    exact = model.trace(text).attention(8, 3).weights().numpy()
    assert np.abs(weights - exact).max() < 1e-5
