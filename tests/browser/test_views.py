"""The view is in the link: Back and Forward, reloads, other pages, long texts and images."""

from __future__ import annotations

import io
from collections.abc import Callable
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.test_explore import Canvas, parameters, slide, slider, titled
from tests.conftest import Visit

Begin = Callable[..., Visit]
TEXT = "The capital of France is"


def entries(page: Page) -> int:
    count: int = page.evaluate("history.length")
    return count


def scale(page: Page) -> str:
    """The color scale of the selected head's map."""
    name: str = Canvas(page, "map").run("return mode.shading.kind;")
    return name


def choose_scale(page: Page, name: str) -> None:
    Canvas(page, "map").root.get_by_role("button", name=name, exact=True).click()


def test_each_act_is_one_step_back_and_forward(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&layer=2&head=3")
    before = entries(page)
    slide(one, "Head", "ArrowRight")
    titled(page, "Layer 2, head 4: weights")
    assert entries(page) == before + 1
    choose_scale(page, "Log")
    page.wait_for_function("location.search.includes('v.')")
    assert entries(page) == before + 2
    Canvas(page, "map").click_cell(3, 1)
    page.wait_for_function("location.search.includes('cell=')")
    one.idle()
    assert entries(page) == before + 3
    box = page.get_by_label("Text", exact=True)
    box.fill("The cat sat on the mat")
    box.press("Control+Enter")
    expect(page.get_by_text("Next token after 5", exact=False)).to_be_visible()
    one.idle()
    assert entries(page) == before + 4

    page.go_back()
    expect(box).to_have_value(TEXT)
    one.idle()
    assert Canvas(page, "map").run("return mode.header.cell;") == [3, 1]
    page.go_back()
    page.wait_for_function("!location.search.includes('cell=')")
    one.idle()
    assert Canvas(page, "map").run("return mode.picked;") is None
    assert scale(page) == "log"
    page.go_back()
    page.wait_for_function("!location.search.includes('v.')")
    assert scale(page) == "linear"
    page.go_back()
    titled(page, "Layer 2, head 3: weights")
    for _ in range(4):
        page.go_forward()
        one.idle()
    expect(box).to_have_value("The cat sat on the mat")
    titled(page, "Layer 2, head 4: weights")
    assert scale(page) == "log"
    assert entries(page) == before + 4


def test_another_model_and_back(visit: Begin) -> None:
    one = visit()
    page = one.open("/explore?model=tiny-induction")
    titled(page, "Layer 1, head 2: weights")
    page.get_by_role("button", name="Examples").click()
    page.get_by_text("The token before", exact=True).click()
    titled(page, "Layer 0, head 3: weights")
    one.idle()
    box = page.get_by_role("combobox", name="Model")
    box.fill("minilm-l6")
    box.press("Enter")
    expect(page.get_by_label("Text", exact=True)).to_have_value("A man is playing a guitar.")
    one.idle()
    page.go_back()
    titled(page, "Layer 0, head 3: weights")
    expect(page.get_by_label("Text", exact=True)).to_have_value("kdxmbqkdxmbqk")
    one.idle()
    page.go_back()
    titled(page, "Layer 1, head 2: weights")
    one.idle()
    assert Canvas(page, "map").run("return mode.header.cell;") == [11, 6]


def test_other_pages_keep_the_view_and_back_restores_it(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&layer=4&head=2&at=1&pins=1.3&show=Scores")
    titled(page, "Layer 4, head 2: scores")
    choose_scale(page, "Percentile")
    one.idle()
    linked = parameters(page)
    before = entries(page)
    page.get_by_role("link", name="Docs").click()
    page.wait_for_url("**/docs*")
    one.idle()
    assert entries(page) == before + 1
    page.go_back()
    titled(page, "Layer 4, head 2: scores")
    one.idle()
    assert parameters(page) == linked
    page.get_by_role("link", name="Docs").click()
    page.wait_for_url("**/docs*")
    one.idle()
    page.get_by_role("link", name="Explore").click()
    titled(page, "Layer 4, head 2: scores")
    one.idle()
    assert parameters(page) == linked
    assert Canvas(page, "strip").run("return mode.focus;") == 1
    assert scale(page) == "percentile"


def test_a_link_has_the_settings_of_every_canvas(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&layer=2&head=3&show=Lines")
    lines, grid = Canvas(page, "lines"), Canvas(page, "grid")
    lines.root.get_by_role("group", name="Heads").get_by_role("button", name="4").click()
    threshold = lines.root.get_by_role("slider")
    threshold.focus()
    threshold.press("ArrowRight")
    orders = grid.root.get_by_role("combobox").first
    orders.focus()
    orders.press("ArrowDown")
    other = orders.input_value()
    one.idle()
    moved = lines.run("return mode.threshold;")

    second = visit()
    copy = second.open(page.url.removeprefix(one.server))
    lines, grid = Canvas(copy, "lines"), Canvas(copy, "grid")
    assert lines.run("return [...mode.hidden];") == [4]
    assert lines.run("return mode.threshold;") == pytest.approx(moved)
    expect(grid.root.get_by_role("combobox").first).to_have_value(other)


def test_a_long_text_survives_a_reload_and_a_link(visit: Begin) -> None:
    text = " ".join(f"{n} tired cats sleep" for n in range(400))
    one = visit()
    page = one.open("/explore?model=tiny-induction&layer=1&head=2&limit=8192")
    box = page.get_by_label("Text", exact=True)
    letters = "".join(c for c in text if c.isalpha())[:480]
    box.fill(letters)
    box.press("Control+Enter")
    one.idle()
    assert parameters(page)["text"] == [letters]
    box.fill(text)
    box.press("Control+Enter")
    expect(page.get_by_text("too long for a link", exact=False)).to_be_visible()
    page.wait_for_function("location.search.includes('text_kept=')")
    one.idle()
    assert len(page.url) < 500
    page.reload()
    expect(box).to_have_value(text)
    other = visit().open(page.url.removeprefix(one.server))
    expect(other.get_by_label("Text", exact=True)).to_have_value(text)
    lost = visit().open(f"/explore?model=tiny-induction&text_kept={'0' * 32}")
    expect(lost.get_by_text("no longer kept on this server", exact=False)).to_be_visible()


def test_an_image_survives_a_reload_and_a_link(visit: Begin) -> None:
    picture = io.BytesIO()
    Image.linear_gradient("L").save(picture, "PNG")
    one = visit()
    page = one.open("/explore?model=tiny-digits&layer=0&head=1")
    image = {"name": "ramp.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    page.locator("input[type=file]").set_input_files([image])  # type: ignore[list-item]
    page.wait_for_function("location.search.includes('image_kept=')")
    one.idle()
    weights = "return [...mode.base.pyramid.levels[0].codes];"
    uploaded = Canvas(page, "map").run(weights)
    page.reload()
    one.idle()
    assert Canvas(page, "map").run(weights) == uploaded
    other = visit().open(page.url.removeprefix(one.server))
    assert Canvas(other, "map").run(weights) == uploaded
    page.get_by_role("radio", name="7", exact=True).click()
    page.wait_for_function("location.search.includes('digit=7')")
    one.idle()
    assert Canvas(page, "map").run(weights) != uploaded


def test_share_copies_the_link_and_says_where_it_works(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&layer=2&head=3")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose_scale(page, "Log")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_text("on every server that has the model", exact=False)).to_be_visible()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert "v." in page.url
    expect(slider(page, "Head")).to_have_value("3")
