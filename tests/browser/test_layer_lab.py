"""The Layer lab under a real hand: keys, the mouse, links."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from attnviz.analysis.cell_steps import cell_steps
from attnviz.ui.lab.layer_controls import FIRST
from tests.browser.colors import picture
from tests.conftest import Visit

Begin = Callable[..., Visit]
CELL = 24  # px, a cell's side at the first view's eight tokens


def chart(page: Page, words: str) -> Locator:
    """A chart by what a screen reader says of it."""
    return page.locator(f'[data-testid="stVegaLiteChart"][aria-label^="{words}"]')


def tooltip(page: Page) -> dict[str, str]:
    """What hovering says, empty where it says nothing."""
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    tip = page.locator("#vg-tooltip-element.visible")
    if not tip.count():
        return {}
    keys, values = tip.locator("td.key"), tip.locator("td.value")
    return dict(zip(keys.all_inner_texts(), values.all_inner_texts(), strict=True))


def go_to_cell(page: Page, words: str, row: int, column: int) -> dict[str, str]:
    """Move the mouse onto a cell, as somebody does who reads the labels; what it says there."""
    canvas = chart(page, words).locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 5
    page.mouse.move(x, y)
    while not (said := tooltip(page)):  # upwards, into the last row
        y -= 6
        page.mouse.move(x, y)
        assert y > box["y"], "nothing to hover"
    y -= CELL / 2
    page.mouse.move(x, y)
    said = tooltip(page)
    here = [int(words.split(" ")[0]) for words in list(said.values())[:2]]
    x, y = x + (column - here[1]) * CELL, y + (row - here[0]) * CELL
    page.mouse.move(x, y)
    return tooltip(page)


def formula(page: Page) -> Locator:
    """The cell's arithmetic as TeX."""
    return page.locator("annotation").filter(has_text="aligned")


def numbers(tex: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", tex)]


def test_hovering_says_the_backends_number(visit: Begin) -> None:
    page = visit().open("/layer_lab")
    steps = FIRST.steps()
    for row, column in ((6, 1), (3, 3), (7, 4)):
        said = go_to_cell(page, "Weights A", row, column)
        assert list(said.values()) == [
            f"{row} · {FIRST.tokens[row]}",
            f"{column} · {FIRST.tokens[column]}",
            f"{steps.weights[0, 0, row, column].item():.7g}",
        ]
    assert list(go_to_cell(page, "Weights A", 1, 6).values())[-1] == "masked"


def test_a_picked_cell_shows_a_sum_that_is_the_score(visit: Begin) -> None:
    one = visit()
    page = one.open("/layer_lab")
    steps = FIRST.steps()
    for row, column in ((6, 4), (5, 2)):
        go_to_cell(page, "Weights A", row, column)
        page.mouse.down()
        page.mouse.up()
        cell = cell_steps(steps, 0, row, column)
        expect(formula(page)).to_contain_text(f"{cell.raw:.5g}")
        one.idle()
        products, raw, scaled, _ = (formula(page).text_content() or "").split(r"\\")
        total = sum(numbers(products.split("&=")[1]))
        assert total == pytest.approx(numbers(raw)[0], abs=2e-4)  # each is shown to five digits
        assert numbers(scaled)[-1] == pytest.approx(
            steps.scores[0, 0, row, column].item(), rel=1e-4
        )
        assert f"query_lab={row}+" in page.url


def test_a_key_on_a_slider_changes_the_picture(visit: Begin) -> None:
    one = visit()
    page = one.open("/layer_lab")
    for label, changed in (("Head", "Weights A"), ("d_model", "Input X")):
        place = chart(page, changed)
        before, size = picture(place), place.bounding_box()
        page.locator(f'input[type=range][aria-label="{label}"]').focus()
        page.keyboard.press("ArrowRight")
        one.idle()
        assert picture(place).tobytes() != before.tobytes()
        after = place.bounding_box()
        assert size and after
        assert (after["width"], after["height"]) == (size["width"], size["height"])
    assert "head_lab=1" in page.url
    assert "d_model=20" in page.url


def test_a_cold_link_holds_the_whole_view(visit: Begin) -> None:
    link = (
        "/layer_lab?d_model=32&n_heads=2&head_lab=1&positions=ALiBi&mask=Sliding+window&window=3"
        "&norm=Pre&seed=4&text_lab=one+two+three&temperature=2.0&code=true"
    )
    page = visit().open(link)
    program = page.locator('[data-testid="stCode"] code').first.inner_text()
    for part in (
        *("d_model=32", "n_heads=2", "positions='alibi'", "mask='sliding'", "window=3"),
        *("norm='pre'", "seed=4", "temperature=2.0", "['one', 'two', 'three']", "weights[0, 1]"),
    ):
        assert part in program


def test_matrices_can_be_taken_home(visit: Begin) -> None:
    page = visit().open("/layer_lab")
    with page.expect_download() as started:
        page.get_by_role("button", name="Matrices as CSV").click()
    lines = started.value.path().read_text().splitlines()
    weight = FIRST.steps().weights[0, 1, 6, 4].item()
    assert f"weights,1,6,4,was,because,{weight!r}" in lines


def test_words_on_screen_are_never_markup(visit: Begin) -> None:
    one = visit()
    page = one.open("/layer_lab?text_lab=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E+**b**+%24x%24")
    expect(page.locator("img[src=x]")).to_have_count(0)
    go_to_cell(page, "Weights A", 2, 1)
    expect(page.locator("#vg-tooltip-element img")).to_have_count(0)
