"""Home in a browser: its numbers are on screen, hovering draws arcs, links carry what they show."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from attnviz.ui.home.views import MODEL, TEXT, kept
from tests.browser.colors import luminance
from tests.conftest import Visit

Begin = Callable[..., Visit]
ARCS = ".arcs path"
LAYER = ".layer > canvas"


def edges(page: Page) -> set[tuple[int, int, int]]:
    """The arcs on screen: query, key, weight in thousandths."""
    drawn = page.locator(ARCS).evaluate_all("paths => paths.map(path => path.dataset.edge)")
    return {tuple(map(int, edge.split())) for edge in drawn}  # type: ignore[misc]


def chip(page: Page, role: str) -> object:
    return page.get_by_role("group", name="Heads", exact=True).get_by_role("button", name=role)


def test_the_first_screen_shows_the_answer_the_heads_and_the_layer(visit: Begin) -> None:
    one = visit(height=900)
    page = one.open("/")
    sentence = kept()["sentence"]
    word, probability = sentence["answers"][0]
    expect(page.locator(".answer")).to_have_text(f"{word} {probability:.0%}")
    for place in (".words", ".chip >> nth=-1", "form", LAYER, "nav[aria-label='About attnviz']"):
        box = page.locator(place).first.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1440
        assert box["y"] + box["height"] <= 900
    about = page.locator("nav[aria-label='About attnviz']")
    for part in ("attnviz 0.", "Apache 2.0", "Docs", "Theme"):
        expect(about).to_contain_text(part)


def test_hovering_a_word_draws_its_row_of_the_chosen_head(visit: Begin) -> None:
    page = visit().open("/")
    heads = kept()["sentence"]["heads"]
    head = next(one for one in heads if one["role"] == "previous-token head")
    chip(page, head["role"]).click()  # type: ignore[attr-defined]
    expect(page.locator(".says")).to_contain_text(head["sentence"])
    page.locator(".token").nth(5).hover()
    row = {(5, key, weight) for key, weight in enumerate(head["weights"][5]) if weight >= 10}
    assert edges(page) == row
    strongest = max(row, key=lambda edge: edge[2])
    expect(page.locator(".token").nth(strongest[1]).locator("small")).to_have_text(
        f"{strongest[2] / 1000:.2f}"
    )
    widths = {
        tuple(map(int, edge.split())): float(width)
        for edge, width in page.locator(ARCS).evaluate_all(
            "paths => paths.map(path => [path.dataset.edge, path.getAttribute('stroke-width')])"
        )
    }
    assert all(abs(widths[edge] - (0.5 + 5.5 * edge[2] / 1000)) < 1e-9 for edge in row)


def test_the_model_is_loaded_behind_the_first_picture(visit: Begin) -> None:
    """The picture is there before the page says so, and stays the same when it does."""
    page = visit().open("/")
    expect(page.locator(ARCS).first).to_be_attached()
    before = edges(page)
    expect(page.get_by_text("SmolLM2 135M is loaded.")).to_be_visible()
    assert edges(page) == before
    expect(page.get_by_test_id("stHeaderLogo")).to_be_visible()  # it follows the picture


def test_a_hovered_word_is_lit_in_the_layer_too(visit: Begin) -> None:
    page = visit().open("/")
    picture = "canvas => canvas.toDataURL()"
    before = page.locator(LAYER).evaluate(picture)
    page.locator(".token").nth(5).hover()
    assert page.locator(LAYER).evaluate(picture) != before
    page.mouse.move(0, 0)
    assert page.locator(LAYER).evaluate(picture) == before


def test_the_keyboard_reaches_words_and_heads(visit: Begin) -> None:
    page = visit().open("/")
    page.locator(".token").nth(3).focus()
    assert {edge[0] for edge in edges(page)} == {3}
    first = page.locator(".chip").first
    first.focus()
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-pressed", "true")


def test_ones_own_text_is_read_by_the_model_and_by_the_layer(visit: Begin) -> None:
    one = visit()
    page = one.open("/")
    box = page.get_by_label("Try your own text")
    box.fill("Paris is the capital of France. Rome is the capital of")
    box.press("Enter")
    expect(page.locator(".answer")).to_contain_text("Italy")
    one.idle()
    assert parse_qs(urlsplit(page.url).query)["try"] == [
        "Paris is the capital of France. Rome is the capital of"
    ]
    expect(page.locator(".token").first).to_contain_text("Paris")
    expect(page.locator(LAYER)).to_have_attribute(
        "aria-label", "Attention weights of 4 heads over 12 words"
    )
    page.reload()
    one.idle()
    expect(page.locator(".answer")).to_contain_text("Italy")


def test_the_layers_sliders_change_its_maps_and_the_link(visit: Begin) -> None:
    one = visit()
    page = one.open("/")
    before = page.locator(LAYER).evaluate("canvas => canvas.toDataURL()")
    heads = page.get_by_label("Heads").and_(page.locator("input"))
    heads.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(LAYER)).to_have_attribute(
        "aria-label", "Attention weights of 8 heads over 14 words"
    )
    assert page.locator(LAYER).evaluate("canvas => canvas.toDataURL()") != before
    one.idle()
    assert parse_qs(urlsplit(page.url).query)["heads"] == ["8"]
    page.get_by_role("link", name="Open in the Layer lab").click()
    page.wait_for_url("**/layer_lab?*")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["n_heads"], query["text_lab"]) == (["8"], [TEXT])


def test_a_head_opens_in_explore_with_its_text(visit: Begin) -> None:
    one = visit()
    page = one.open("/")
    head = next(h for h in kept()["sentence"]["heads"] if h["role"] == "name mover")
    chip(page, "name mover").first.click()  # type: ignore[attr-defined]
    page.get_by_role("link", name="Open this head in Explore").click()
    page.wait_for_url("**/explore*")
    one.idle()
    for label, value in (("Layer", head["layer"]), ("Head", head["head"])):
        expect(page.locator(f'input[type=range][aria-label="{label}"]')).to_have_value(str(value))


@pytest.mark.parametrize("name", [example["name"] for example in kept()["examples"]])
def test_an_example_opens_loaded(name: str, visit: Begin) -> None:
    one = visit()
    page = one.open("/")
    params = next(e["params"] for e in kept()["examples"] if e["name"] == name)
    page.locator(f'.card[data-name="{name}"]').click()
    page.wait_for_url("**/explore*")
    one.idle()
    query = parse_qs(urlsplit(page.url).query)
    for parameter in ("text", "target"):
        if parameter in params:
            assert query.get(parameter, [params[parameter]]) == [params[parameter]]
            box = page.locator("textarea").nth(("text", "target").index(parameter))
            expect(box).to_have_value(params[parameter])
    if "digit" in params:
        assert query["digit"] == [params["digit"]]
        expect(page.get_by_text("Upload an image")).to_have_count(0)
    expect(page.locator(".canvas-root canvas").first).to_be_visible()
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    if params["model"] != MODEL:
        assert query["model"] == [params["model"]]


def test_the_theme_is_switched_on_the_page(visit: Begin) -> None:
    page = visit().open("/")
    back = "e => getComputedStyle(e).backgroundColor"
    app = page.get_by_test_id("stApp")
    assert luminance(app.evaluate(back)) > 0.9
    page.get_by_role("button", name="Theme").click()
    page.wait_for_function(
        f"() => ({back})(document.querySelector('[data-testid=stApp]')) !== 'rgb(255, 255, 255)'"
    )
    assert luminance(app.evaluate(back)) < 0.1


@pytest.mark.parametrize("width", [400, 900])
def test_on_a_narrow_screen_nothing_hangs_over_the_edge(width: int, visit: Begin) -> None:
    page = visit(width=width).open("/")
    for place in (".words", "form", LAYER, ".cards"):
        box = page.locator(place).first.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
