"""A text in a real browser while it is written: rows of attention appear, and are then the map."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from benchmarks.server import serve
from tests.conftest import Visit

Begin = Callable[..., Visit]
TEXT = "The capital of France is"

PICTURE = '[data-testid="stVegaLiteChart"][aria-label^="Attention of the newest"]'

# Notes what the picture says of itself each time it changes, and what else is then on the page.
NOTE = """(PICTURE) => {
    window.noted = [];
    const look = () => {
        const chart = document.querySelector(PICTURE);
        const n = chart ? parseInt(chart.getAttribute('aria-label').match(/\\d+/)[0]) : 0;
        const drawn = chart ? chart.querySelector('canvas')?.height ?? 0 : 0;
        const last = window.noted.at(-1);
        if (!last || last.n !== n || last.drawn !== drawn) window.noted.push({n, drawn});
    };
    new MutationObserver(look).observe(document.body, {
        childList: true, subtree: true, attributes: true,
        attributeFilter: ['aria-label', 'height'],
    });
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve("tests/browser/apps/writing_app.py") as address:
        yield address


def noted(page: Page) -> list[dict[str, int]]:
    found: list[dict[str, int]] = page.evaluate("window.noted")
    return found


def positions(page: Page) -> int:
    """How long the text is whose map is shown."""
    return int(page.get_by_role("heading", name=re.compile("positions$")).inner_text().split()[0])


def test_rows_appear_as_they_are_written_and_then_the_map(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/?text={quote(TEXT)}&layer=4&head=2&draw_tokens=60")
    expect(page.get_by_role("heading", name="5 positions")).to_be_visible()
    page.evaluate(NOTE, PICTURE)
    page.get_by_role("button", name="Generate").click()
    picture = page.locator(PICTURE)
    expect(picture).to_be_visible()
    one.idle()
    expect(page.get_by_role("heading", name="5 positions", exact=True)).to_have_count(0)
    assert positions(page) > 5 + 24
    counts = [x["n"] for x in noted(page) if x["n"]]
    assert counts == sorted(counts)  # rows are added, none is lost
    assert len(set(counts)) >= 3  # and they come little by little
    assert counts[-1] == 24  # the newest
    assert len({x["drawn"] for x in noted(page) if x["drawn"]}) >= 3  # drawn, and not only said
    expect(picture).to_have_count(0)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)


def test_a_writing_is_stopped_and_gone_on_with(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/?text={quote(TEXT + ' a')}&layer=4&head=2&draw_tokens=200")
    page.get_by_role("button", name="Generate").click()
    picture = page.locator(PICTURE)
    expect(picture).to_be_visible()
    # Streamlit's header has a "Stop" of its own while a script runs
    content = page.get_by_test_id("stMainBlockContainer")
    content.get_by_role("button", name="Stop", exact=True).click()
    expect(picture).to_have_count(0)
    one.idle()
    n = positions(page)
    assert 6 < n < 206
    page.get_by_role("button", name="+1 token").click()
    expect(page.get_by_role("heading", name=f"{n + 1} positions")).to_be_visible()
