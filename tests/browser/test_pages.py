"""What every page owes a visitor: it opens, from anywhere, in any width and theme, on its own."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks.server import serve
from tests.browser.colors import contrast, ground, luminance
from tests.conftest import Visit

APP = Path(__file__).parents[2] / "app.py"


def registered() -> dict[str, str]:
    """The pages that app.py registers, but Home: address and title, in their order."""
    pages = {}
    for call in ast.walk(ast.parse(APP.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "st.Page":
            title = next(word.value for word in call.keywords if word.arg == "title")
            pages[f"/{Path(ast.literal_eval(call.args[0])).stem}"] = ast.literal_eval(title)
    assert pages.pop("/home") == "Home"
    return pages


PAGES = registered()
Begin = Callable[..., Visit]


@pytest.fixture
def fresh_server() -> Iterator[str]:
    """A server that nobody has visited."""
    with serve("app.py") as address:
        yield address


def title(page: Page) -> str:
    return page.locator("h1, h2").first.inner_text().strip()


def test_the_bare_address_is_home(visit: Begin) -> None:
    page = visit().open("/")
    assert "Mary" in title(page)
    assert page.url.endswith("/")
    expect(page.locator(".arcs path").first).to_be_attached()


def test_every_page_is_registered() -> None:
    found = {f"/{file.stem}" for file in (APP.parent / "pages").glob("*.py")}
    assert found == PAGES.keys() | {"/home"}
    assert PAGES.keys() >= {"/layer_lab", "/train", "/explore", "/docs"}


@pytest.mark.parametrize("path", PAGES)
def test_a_servers_first_visitor_with_a_link(path: str, fresh_server: str, visit: Begin) -> None:
    page = visit(server=fresh_server).open(path)
    assert title(page) == PAGES[path]
    expect(page.get_by_text("Page not found")).to_have_count(0)
    links = page.get_by_test_id("stTopNavLink")
    assert [link.strip() for link in links.all_inner_texts()] == ["Home", *PAGES.values()]
    assert page.title() == f"{PAGES[path]} · attnviz"


def test_one_gets_around(visit: Begin) -> None:
    one = visit()
    page = one.open("/")
    for path, name in reversed(PAGES.items()):
        page.get_by_test_id("stTopNavLink").filter(has_text=name).click()
        page.wait_for_url(f"**{path}*")
        one.idle()
        assert title(page) == name


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [900, 1440])
def test_nothing_hangs_over_the_edge(path: str, width: int, visit: Begin) -> None:
    page = visit(width=width).open(path)
    over = page.evaluate(
        """() => {
            const within = document.querySelector('[data-testid="stMain"]').getBoundingClientRect();
            const charts = document.querySelectorAll('[data-testid="stVegaLiteChart"]');
            return [...charts]
                .filter((chart) => [...chart.querySelectorAll('svg, canvas')].some(
                    (drawn) => drawn.getBoundingClientRect().right > within.right + 1))
                .map((chart) => chart.ariaLabel);
        }"""
    )
    assert over == []


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(path: str, scheme: str, visit: Begin) -> None:
    page = visit(scheme=scheme).open(path)
    style = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
    back, front = map(luminance, page.get_by_test_id("stApp").evaluate(style))
    assert (back < 0.1) == (scheme == "dark")
    assert contrast(back, front) > 7  # WCAG's enhanced contrast
    drawn = {"/layer_lab": ".canvas-root .picture", "/explore": ".canvas-root .picture"}
    if path in drawn:  # Train draws once something has been trained
        assert (ground(page.locator(drawn[path]).first) < 0.1) == (scheme == "dark")
