"""Explore in a real browser: numbers under the cursor, links, and input as a person types it."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

import attnviz
from attnviz.canvas import grid_payload
from attnviz.canvas.codecs import as_shown
from attnviz.trace.model import Model
from tests.browser.colors import contrast, ground, luminance
from tests.conftest import TIMEOUT_MS, Visit

Begin = Callable[..., Visit]
TEXT = "The capital of France is"


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


class Canvas:
    """One of the page's canvases, as a person's hand and eye meet it."""

    def __init__(self, page: Page, mode: str, nth: int = 0) -> None:
        self.page = page
        self.root = page.locator(f".canvas-root[data-mode={mode}]").nth(nth)
        self.picture = self.root.locator(".picture")

    def run(self, code: str, argument: object = None) -> Any:
        """JavaScript with ``mode``, ``stage`` and ``argument`` in reach, once it is painted.

        Streamlit may put another element in its place meanwhile: each time it is looked for anew.
        """
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while not self.root.evaluate("root => root.isConnected && root.attnviz?.stage.painted > 0"):
            assert time.monotonic() < deadline, "the canvas was not painted"
            self.page.wait_for_timeout(50)
        reach = "const {stage, mode} = root.attnviz;"
        return self.root.evaluate(f"async (root, argument) => {{ {reach} {code} }}", argument)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Move the mouse there, from somewhere else."""
        self.picture.scroll_into_view_if_needed()
        box = self.picture.bounding_box()
        assert box is not None
        at = (box["x"] + x, box["y"] + y)
        self.page.mouse.move(at[0] + 3, at[1] + 3)
        self.page.mouse.move(*at)
        return at

    def tip(self) -> list[str]:
        return self.root.locator(".tip b").all_inner_texts()

    def over(self, row: int, column: int) -> list[str]:
        """What the tooltip says over a cell of a map: row, column, number."""
        self.point(*self.run("return mode.middleOf(argument);", [row, column]))
        return self.tip()

    def click_cell(self, row: int, column: int) -> None:
        self.page.mouse.click(
            *self.point(*self.run("return mode.middleOf(argument);", [row, column]))
        )

    def click_chip(self, chip: int) -> None:
        x, y, w, h = self.run("const b = mode.boxOf(argument); return [b.x, b.y, b.w, b.h];", chip)
        self.page.mouse.click(*self.point(x + w / 2, y + h / 2))

    def names(self) -> list[str]:
        names: list[str] = self.run("return mode.names;")
        return names


def head(page: Page) -> Canvas:
    """The map of the chosen head."""
    return Canvas(page, "map")


def titled(page: Page, title: str) -> None:
    """The picture of the chosen head is this one."""
    expect(head(page).picture).to_have_attribute("aria-label", re.compile(f"^{title}\\. "))


def shares(page: Page, label: str) -> Locator:
    """The bars of the explanation that begin with this label."""
    return page.locator(f".canvas-root[aria-label^='{label}']")


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
        said = head(page).over(row, column)
        assert said[0].startswith(f"{row} ")
        assert said[1].startswith(f"{column} ")
        assert said[2] == as_shown(float(weights[row, column]))
    assert head(page).over(0, n - 1)[2] == "masked"


@pytest.mark.parametrize("view", ["Q", "K", "V", "Output"])
def test_vectors_are_read_with_six_digits(view: str, visit: Begin, model: Model) -> None:
    page = visit().open(f"/explore?text={quote(TEXT)}&layer=7&head=3&show={view}")
    a = model.trace(TEXT).attention(layer=7, head=3)
    exact = {"Q": a.q, "K": a.k, "V": a.v, "Output": a.output()}[view]
    titled(page, f"Layer 7, head 3: {view}")
    for row, dimension in [(0, 0), (4, 63), (2, 17)]:
        said = head(page).over(row, dimension)
        assert (said[0][0], said[1]) == (str(row), str(dimension))
        assert float(said[2]) == pytest.approx(float(exact[row, dimension]), rel=5.1e-6)


def test_zoom_cell_and_focus_go_into_the_link_and_come_back(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote('word ' * 60)}")
    canvas = head(page)
    canvas.point(*canvas.run("return mode.middleOf([30, 20]);"))
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.wait_for_function("() => location.search.includes('zoom=m')")
    one.idle()
    shown = canvas.run("return mode.view.visible();")
    canvas.click_cell(30, 20)
    page.wait_for_function("() => location.search.includes('cell=decoder.30.20')")
    one.idle()
    assert parameters(page)["at"] == ["30"]  # the cell's query is in focus everywhere
    assert Canvas(page, "strip").run("return mode.focus;") == 30
    page.reload()
    one.idle()
    (again, picked) = head(page).run("return [mode.view.visible(), mode.picked];")
    assert picked == [30, 20]
    # Whole cells are in the link. Names turn where there is no room for them, so the plot may have
    # another shape, with room for a cell more or less.
    for side in ("rows", "cols"):
        assert again[side][0] == shown[side][0]
        assert abs(again[side][1] - shown[side][1]) <= 2
    head(page).run("mode.reset();")
    page.wait_for_function("() => !location.search.includes('zoom=')")


def test_a_token_held_in_the_lines_is_in_focus_everywhere(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&show=Lines")
    lines = Canvas(page, "lines")
    lines.picture.focus()
    lines.picture.press("ArrowDown")
    lines.picture.press("ArrowDown")
    lines.picture.press("Enter")
    page.wait_for_function("() => /at=[12]/.test(location.search)")
    one.idle()
    at = int(parameters(page)["at"][0])
    assert Canvas(page, "strip").run("return mode.focus;") == at
    expect(page.get_by_text(f"Next token after {at}", exact=False)).to_be_visible()
    lines.picture.press("Escape")
    page.wait_for_function("() => !location.search.includes('at=')")


def test_a_link_restores_the_whole_view(visit: Begin) -> None:
    page = visit().open(f"/explore?text={quote(TEXT)}&layer=7&head=3&show=Scores&at=2")
    titled(page, "Layer 7, head 3: scores")
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    expect(page.get_by_text("Next token after 2", exact=False)).to_be_visible()


def test_a_key_on_the_slider_changes_picture_and_link(visit: Begin, model: Model) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&layer=0&head=0")
    slide(one, "Layer", "ArrowRight")
    slide(one, "Head", "End")
    titled(page, "Layer 1, head 8: weights")
    weights = model.trace(TEXT).attention(layer=1, head=8).weights()
    assert head(page).over(1, 0)[2] == as_shown(float(weights[1, 0]))
    assert parameters(page) == {"text": [TEXT], "layer": ["1"], "head": ["8"]}
    page.reload()
    one.idle()
    expect(slider(page, "Head")).to_have_value("8")


def test_a_token_is_clicked_and_its_prediction_shown(visit: Begin, model: Model) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}")
    likeliest = model.trace(TEXT).predictions()[0].token
    assert likeliest.strip() == "Paris"
    expect(shares(page, f"The most likely token is {likeliest}")).to_be_visible()
    strip = Canvas(page, "strip")
    assert strip.names() == ["The", " capital", " of", " France", " is"]
    strip.click_chip(1)
    page.wait_for_function("() => location.search.includes('at=1')")
    one.idle()
    second = model.trace(TEXT, keep=("qkv", "logits")).predictions(1)[0].token
    expect(shares(page, f"The most likely token is {second}")).to_be_visible()
    strip.click_chip(1)  # again, to let go
    page.wait_for_function("() => !location.search.includes('at=')")
    one.idle()
    expect(shares(page, f"The most likely token is {likeliest}")).to_be_visible()


def test_the_download_is_the_matrix(visit: Begin, model: Model, tmp_path: Path) -> None:
    page = visit().open(f"/explore?text={quote(TEXT)}&layer=2&head=1&show=Q")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("button", name="CSV", exact=True).last.click()
    assert download.value.suggested_filename == "smollm2-135m-layer2-head1-q.csv"
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
    expect(page.get_by_test_id("stAlert")).to_contain_text("/no/such/folder")
    expect(head(page).picture).to_be_visible()
    box.fill("minilm-l6")
    box.press("Enter")
    one.idle()
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    expect(page.get_by_text("6 layers of 12 heads").first).to_be_visible()
    assert parameters(page)["model"] == ["minilm-l6"]


def test_text_is_never_markup(visit: Begin) -> None:
    hostile = "<img src=x onerror=alert(1)> **b** $x$ [a](javascript:alert(2)) עברית 猫 🙂"
    one = visit()
    dialogs: list[str] = []
    one.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = one.open(f"/explore?text={quote(hostile)}")
    main = page.get_by_test_id("stMain")
    assert main.locator("img, a[href^='javascript']").count() == 0
    chips = "".join(Canvas(page, "strip").names())
    for piece in ("<", "error", "**", "$", "ע", "猫", "🙂"):
        assert piece in chips
    said = head(page).over(0, 0)
    assert said[0] == "0 · <"
    assert dialogs == []


def test_two_people_at_once(visit: Begin) -> None:
    first, second = visit(), visit()
    for one, layer in ((first, 3), (second, 9)):
        one.page.goto(f"{one.server}/explore?layer={layer}&text={quote(TEXT)}")
    for one, layer in ((first, 3), (second, 9)):
        one.idle()
        titled(one.page, f"Layer {layer}, head 0: weights")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_names_of_predictions_can_be_read(scheme: str, visit: Begin) -> None:
    page = visit(scheme=scheme).open(f"/explore?text={quote(TEXT)}")
    label = shares(page, "The most likely token is").locator(".what bdi").first
    ink = luminance(label.evaluate("e => getComputedStyle(e).color"))
    assert contrast(ground(label), ink) > 4.5  # WCAG AA for small text


def test_a_click_on_a_thumbnail_moves_to_that_head(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}")
    grid = Canvas(page, "grid")

    def click(layer: int, chosen: int) -> None:
        find = "mode.shown.find((h) => h.layer === argument[0] && h.head === argument[1])"
        code = (
            f"const h = {find}; stage.scroll.scrollTop = h.y - stage.height / 2;"
            "return [h.x + h.w / 2, h.y + h.h / 2 - stage.scroll.scrollTop];"
        )
        page.mouse.click(*grid.point(*grid.run(code, [layer, chosen])))

    for layer, chosen in ((12, 5), (3, 8)):
        click(layer, chosen)
        titled(page, f"Layer {layer}, head {chosen}: weights")
        one.idle()
        expect(slider(page, "Layer")).to_have_value(str(layer))
        expect(slider(page, "Head")).to_have_value(str(chosen))
        assert parameters(page)["layer"] == [str(layer)]
    # the same head again, after the slider has moved away
    slide(one, "Layer", "ArrowRight")
    titled(page, "Layer 4, head 8: weights")
    click(3, 8)
    titled(page, "Layer 3, head 8: weights")


def test_a_model_writes_until_it_is_stopped(visit: Begin) -> None:
    one = visit()
    page = one.open(f"/explore?text={quote(TEXT)}&draw_tokens=200")
    page.get_by_role("button", name="Generate").click()
    content = page.get_by_test_id("stMainBlockContainer")  # Streamlit's header has a "Stop" too
    stop = content.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible()
    expect(page.get_by_text("Paris", exact=False).first).to_be_visible()
    stop.click()
    expect(stop).to_have_count(0)
    one.idle()
    n = int(parameters(page)["written"][0])
    assert 0 < n < 200
    strip = Canvas(page, "strip")
    assert len(strip.names()) == 5 + n
    assert strip.names()[5] == " Paris"
    assert strip.run("return mode.header.sections[0].written;") == 5
    expect(head(page).picture).to_be_visible()
    page.get_by_role("button", name="Reset").click()
    one.idle()
    assert len(strip.names()) == 5


def test_the_grid_of_a_long_text_grows_in_place(visit: Begin, model: Model) -> None:
    """What is filled in is the same picture all along; a head can be chosen before the end."""
    text = " ".join(f"{n} sheep sleep on hill {n * 7 % 11}." for n in range(90))
    one = visit()
    one.page.add_init_script("""
        window.seen = [];
        window.between = new Set();
        const look = () => {
            const hosts = [...document.querySelectorAll("*")].filter((one) => one.shadowRoot);
            const found = hosts.map((one) => one.shadowRoot.querySelector("[data-mode=grid]"));
            const root = found.find(Boolean);
            const mode = root?.attnviz?.mode;
            if (mode?.content && window.seen.at(-1)?.id !== mode.content.id)
                window.seen.push({root, id: mode.content.id, height: root.offsetHeight});
            if (mode?.content) window.between.add(Math.round(root.getBoundingClientRect().top));
            requestAnimationFrame(look);
        };
        look();
    """)
    page = one.open(f"/explore?text={quote(text)}&layer=7&head=3")
    grid = Canvas(page, "grid")
    expect(grid.root.locator(".note")).to_have_text("", timeout=120_000)
    made = grid_payload(model.trace(text))
    values = grid.run("return mode.heads.map((h) => [...h.numbers]);")
    expected = [[m.entropy, m.max_weight] for m in made.metrics]
    names = grid.run("return mode.content.metrics.map((m) => m.key);")
    at = [names.index(name) for name in ("entropy", "max_weight")]
    # float32 sums on other threads and processes: some last digits differ
    assert [[row[i] for i in at] for row in values] == [
        pytest.approx(x, abs=1e-4) for x in expected
    ]
    seen = page.evaluate("window.seen.map((s) => [s.id, s.height, s.root === window.seen[0].root])")
    counts = [int(id.rsplit("/", 1)[1]) for id, _, _ in seen if id.startswith(seen[-1][0][:-2])]
    assert counts == sorted(counts) and counts[-1] == 30
    assert {height for _, height, _ in seen} == {seen[0][1]}
    assert all(same for _, _, same in seen), seen
    assert len(page.evaluate("[...window.between]")) == 1  # it doesn't move meanwhile
