"""Explore in one window: what answers a click is in view, and the panes answer each other."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

import attnviz
from tests.conftest import Visit

TEXT = "When Mary and John went to the store, John gave a drink to"
PANES = ("tokens_pane", "grid_pane", "head_pane", "explanation")
Begin = Callable[..., Visit]


def box(page: Page, pane: str) -> FloatRect:
    found = page.locator(f".st-key-{pane}").bounding_box()
    assert found is not None
    return found


def bars(page: Page, label: str) -> Locator:
    return page.locator(f".canvas-root[aria-label^='{label}'] .share")


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1920, 1080), (2560, 1440)])
def test_tokens_heads_head_and_explanation_are_in_one_window(
    width: int, height: int, visit: Begin
) -> None:
    page = visit(width=width, height=height).open(f"/explore?text={quote(TEXT)}&layer=7&head=3")
    pictures = page.locator(".st-key-panes .canvas-root .picture")
    for pane in ("tokens_pane", "grid_pane", "head_pane"):
        here = box(page, pane)
        assert here["x"] >= 0 and here["x"] + here["width"] <= width
        assert here["y"] >= 0 and here["y"] + here["height"] <= height
    explained = page.locator(".st-key-panes > :last-child").bounding_box()  # scrolls inside
    assert explained is not None
    assert explained["y"] + explained["height"] <= height
    # the picture of the selected head takes what is left of the window
    map_ = pictures.nth(1).bounding_box()
    assert map_ is not None
    assert map_["height"] > 0.5 * height
    assert height - (map_["y"] + map_["height"]) < 60


def test_a_larger_window_gives_its_room_to_the_head(visit: Begin) -> None:
    page = visit(width=1440, height=900).open(f"/explore?text={quote(TEXT)}")
    picture = page.locator(".st-key-head_pane .canvas-root .picture")
    before = picture.evaluate("e => e.clientHeight")
    page.set_viewport_size({"width": 1440, "height": 1100})
    page.wait_for_function(
        """(least) => [...document.querySelectorAll('.st-key-head_pane *')].some((e) =>
            e.shadowRoot?.querySelector('.picture')?.clientHeight > least)""",
        arg=before + 150,
    )


def test_in_a_narrow_window_the_panes_follow_each_other(visit: Begin) -> None:
    page = visit(width=900, height=900).open(f"/explore?text={quote(TEXT)}")
    tops = [box(page, name)["y"] for name in ("tokens_pane", "head_pane", "explanation")]
    tops.append(box(page, "grid_pane")["y"])
    assert tops == sorted(tops)
    for pane in PANES:
        assert box(page, pane)["width"] > 800


def test_a_key_of_the_query_in_focus_is_a_cell(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&layer=7&head=3&at=13")
    weights = attnviz.load("smollm2-135m", device="cpu").trace(TEXT).attention(7, 3).weights()
    strongest = [int(key) for key in weights[13].topk(4).indices]
    found = bars(page, "What")
    expect(found).to_have_count(4)
    assert [int(text.split()[0]) for text in found.all_inner_texts()] == strongest
    found.nth(1).click()
    page.wait_for_function(f"() => location.search.includes('cell=decoder.13.{strongest[1]}')")
    one.idle()
    shown = page.locator(".st-key-explanation table").inner_text()
    assert f"{float(weights[13, strongest[1]]):.4g}"[:4] in shown


def test_a_predicted_token_goes_into_the_text(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}")
    first = bars(page, "The most likely token is")
    expect(first.first).to_contain_text("Mary")
    first.first.click()
    page.wait_for_function("() => location.search.includes('Mary', 40)")
    expect(page.get_by_label("Text", exact=True)).to_have_value(f"{TEXT} Mary")
    one.idle()
    assert parameters(page)["text"] == [f"{TEXT} Mary"]


def test_a_long_text_is_one_line_that_opens(visit: Begin) -> None:
    page = visit().open(f"/explore?text={quote('some words again ' * 30)}&at=80")
    strip = page.locator(".canvas-root[data-mode=strip]")
    scroll = strip.locator(".scroll")
    assert scroll.evaluate("e => e.clientHeight") < 45
    assert scroll.evaluate("e => e.scrollTop") > 0  # at the token in focus
    strip.get_by_role("button", name="Show all tokens").click()
    assert scroll.evaluate("e => e.clientHeight") > 90
