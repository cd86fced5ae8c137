"""Explore in a real browser: numbers under the cursor, links, and input as a person types it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

import attnviz
from attnviz.trace.model import Model
from tests.browser.colours import contrast, ground, luminance
from tests.conftest import Visit

Begin = Callable[..., Visit]
TEXT = "The capital of France is"
STEP = 9  # px, less than the smallest cell here


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


def matrix(page: Page) -> Locator:
    return page.get_by_test_id("stVegaLiteChart").nth(1)


def hover(page: Page, row: int, column: int) -> list[str]:
    """What the tooltip says over one cell: row, column, value.

    A picture has no cells to ask for, so the cursor walks to where the tooltip names this one.
    """
    chart = matrix(page)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tooltip = page.locator("#vg-tooltip-element.visible")
    for _ in range(100):
        page.mouse.move(x - 1, y)
        page.mouse.move(x, y)
        page.wait_for_timeout(60)
        if not tooltip.count():  # not drawn yet, or between two cells
            x += 2
            continue
        said = tooltip.locator("td.value").all_inner_texts()
        down, right = row - position(said[0]), column - position(said[1])
        if not down and not right:
            return said
        x, y = x + STEP * right, y + STEP * down
    raise AssertionError(f"no cell says that it is {row}, {column}")


def position(label: str) -> int:
    return int(label.split(" ")[0])


def slider(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True).locator("input")


def slide(one: Visit, name: str, key: str) -> None:
    thumb = slider(one.page, name)
    thumb.focus()
    thumb.press(key)
    one.idle()


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_the_number_under_the_cursor_is_the_backends(visit: Begin, model: Model) -> None:
    page = visit().open(f"/explore?text={quote(TEXT)}&layer=7&head=3")
    weights = model.trace(TEXT).attention(layer=7, head=3).weights()
    n = len(weights)
    for row, column in [(0, 0), (3, 1), (n - 1, n - 2)]:
        said = hover(page, row, column)
        assert said[0].startswith(f"{row} ")
        assert said[1].startswith(f"{column} ")
        # seven digits are shown
        assert float(said[2]) == pytest.approx(float(weights[row, column]), rel=1e-6)
    assert hover(page, 0, n - 1)[2] == "masked"


def test_a_link_restores_the_whole_view(visit: Begin) -> None:
    page = visit().open(f"/explore?text={quote(TEXT)}&layer=7&head=3&show=Scores&at=2")
    expect(matrix(page)).to_have_attribute("aria-label", "Scores of layer 7, head 3")
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    expect(page.get_by_text("Next token after 2", exact=False)).to_be_visible()


def test_a_key_on_the_slider_changes_picture_and_link(visit: Begin, model: Model) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}")
    slide(one, "Layer", "ArrowRight")
    slide(one, "Head", "End")
    expect(matrix(page)).to_have_attribute("aria-label", "Weights of layer 1, head 8")
    weights = model.trace(TEXT).attention(layer=1, head=8).weights()
    assert float(hover(page, 1, 0)[2]) == pytest.approx(float(weights[1, 0]), rel=1e-6)
    assert parameters(page) == {"text": [TEXT], "layer": ["1"], "head": ["8"]}
    page.reload()
    one.idle()
    expect(slider(page, "Head")).to_have_value("8")


def test_a_token_is_clicked_and_its_prediction_shown(visit: Begin, model: Model) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}")
    chart = page.get_by_test_id("stVegaLiteChart").first
    likeliest = model.trace(TEXT).predictions()[0].token
    assert likeliest.strip() == "Paris"
    expect(chart).to_have_attribute("aria-label", f"The likeliest token is {likeliest}")
    page.get_by_role("radio", name=re.compile("^1 +capital$")).click()
    one.idle()
    second = model.trace(TEXT, keep=("qkv", "logits")).predictions(1)[0].token
    expect(chart).to_have_attribute("aria-label", f"The likeliest token is {second}")
    assert parameters(page)["at"] == ["1"]


def test_the_download_is_the_matrix(visit: Begin, model: Model, tmp_path: Path) -> None:
    page = visit().open(f"/explore?text={quote(TEXT)}&layer=2&head=1&show=Q")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    assert download.value.suggested_filename == "layer2-head1-q.csv"
    download.value.save_as(tmp_path / "q.csv")
    with (tmp_path / "q.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    q = model.trace(TEXT).attention(layer=2, head=1).q
    for row, exact in zip(rows, q.tolist(), strict=True):
        assert [float(x) for x in row[1:]] == pytest.approx(exact, rel=1e-7)


def test_a_name_typed_into_the_model_box(visit: Begin) -> None:
    one = visit()
    page = one.open("/explore")
    box = page.get_by_role("combobox", name="Model")
    box.fill("/no/such/folder")
    box.press("Enter")
    one.idle()
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_test_id("stAlert")).to_contain_text("/no/such/folder")
    expect(matrix(page)).to_be_visible()
    box.fill("minilm-l6")
    box.press("Enter")
    one.idle()
    expect(sidebar.get_by_test_id("stAlert")).to_have_count(0)
    expect(page.get_by_text("6 layers of 12 heads").first).to_be_visible()
    assert parameters(page)["model"] == ["minilm-l6"]


def test_text_is_never_markup(visit: Begin) -> None:
    hostile = "<img src=x onerror=alert(1)> **b** $x$ [a](javascript:alert(2)) עברית 猫 🙂"
    one = visit()
    dialogs: list[str] = []
    one.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = one.open(f"/explore?text={quote(hostile)}")
    main = page.get_by_test_id("stMain")
    assert main.locator("img, strong, .katex, a[href^='javascript']").count() == 0
    chips = "".join(page.get_by_role("radio").all_inner_texts())
    for piece in ("<", "error", "**", "$", "ע", "猫", "🙂"):
        assert piece in chips
    said = hover(page, 0, 0)
    assert said[0] == "0 · <"
    assert dialogs == []


def test_two_people_at_once(visit: Begin) -> None:
    first, second = visit(), visit()
    for one, layer in ((first, 3), (second, 9)):
        one.page.goto(f"{one.server}/explore?layer={layer}&text={quote(TEXT)}")
    for one, layer in ((first, 3), (second, 9)):
        one.idle()
        expect(matrix(one.page)).to_have_attribute(
            "aria-label", f"Weights of layer {layer}, head 0"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_labels_of_charts_can_be_read(scheme: str, visit: Begin) -> None:
    page = visit(scheme=scheme).open(f"/explore?text={quote(TEXT)}")
    chart = page.get_by_test_id("stVegaLiteChart").first
    label = chart.locator(".role-axis-label text").first
    ink = luminance(label.evaluate("e => getComputedStyle(e).fill"))
    assert contrast(ground(chart), ink) > 4.5  # WCAG AA for small text


def test_a_click_on_a_thumbnail_moves_to_that_head(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}")
    grid = page.locator(".canvas-root .over").first
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 150, box["y"] + 150)
    one.idle()
    found = parameters(page)
    layer, head = int(found["layer"][0]), int(found["head"][0])
    assert layer > 0 and head > 0
    expect(matrix(page)).to_have_attribute("aria-label", f"Weights of layer {layer}, head {head}")
    expect(slider(page, "Layer")).to_have_value(str(layer))
    expect(slider(page, "Head")).to_have_value(str(head))


def test_a_model_writes_until_it_is_stopped(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&draw_tokens=200")
    page.get_by_role("button", name="Write").click()
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible()
    expect(page.get_by_text("Paris", exact=False).first).to_be_visible()
    stop.click()
    expect(stop).to_have_count(0)
    one.idle()
    n = int(parameters(page)["written"][0])
    assert 0 < n < 200
    chips = page.get_by_role("radio", name=re.compile(r"^\d+ "))
    expect(chips).to_have_count(5 + n)
    expect(chips.nth(5)).to_contain_text("▸ Paris")
    expect(matrix(page)).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    one.idle()
    expect(chips).to_have_count(5)
