"""The Layer lab under a real hand: keys, the mouse, links."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

import attnviz
from attnviz.analysis.cell_steps import cell_steps
from attnviz.analysis.real_head import real_head
from attnviz.ui.first_view import FIRST_TEXT
from attnviz.ui.lab.layer_controls import FIRST
from tests.browser.canvas_page import CanvasOn
from tests.conftest import Visit

Begin = Callable[..., Visit]

# The box of a matrix by its name, of the first panel.
BOX = """
    const boxOf = (name) =>
        mode.chunks.flatMap((c) => c.boxes).find((b) => mode.matrixOf(b).name === name);
"""
MIDDLE = f"""{BOX}
    const [name, row, col] = argument, box = boxOf(name), [rows, cols] = mode.matrixOf(box).size;
    return [box.x + (col + 0.5) * box.w / cols, box.y + (row + 0.5) * box.h / rows - stage.top];
"""
# The rows and columns that are lit in each matrix of tokens.
LIT = """
    const { litCells } = await import(
        performance.getEntriesByType("resource").find((e) => /hoverlink/.test(e.name)).name);
    const boxes = mode.chunks.flatMap((c) => c.boxes);
    return Object.fromEntries(boxes.map((b) => [mode.matrixOf(b).name,
        litCells(mode._axesOf(mode.matrixOf(b)), mode.tokensOf(mode.hovered))]));
"""


def point(flow: CanvasOn, name: str, row: int, col: int) -> dict[str, str]:
    """Move the mouse onto a cell of a matrix; what is said of it."""
    flow.run("stage.root.scrollIntoView({ block: 'center' });")
    flow.point(*flow.run(MIDDLE, [name, row, col]))
    return flow.tip()


def formula(page: Page) -> Locator:
    """The cell's arithmetic as TeX."""
    return page.locator("annotation").filter(has_text="aligned")


def numbers(tex: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", tex)]


def shown(flow: CanvasOn, name: str) -> np.ndarray:
    """The numbers that a matrix is drawn from."""
    code = "const m = mode.matrixOf(boxOf(argument)); return [m.size, [...mode.arrays[m.array]]];"
    size, values = flow.run(BOX + code, name)
    return np.array(values, dtype=np.float32).reshape(size)


def test_hovering_says_the_backends_number(visit: Begin) -> None:
    flow = CanvasOn(visit().open("/layer_lab"))
    weights = FIRST.steps().weights[0, 0]
    for row, column in ((6, 1), (3, 3), (7, 4)):
        assert point(flow, "weights", row, column) == {
            "query": f"{row} · {FIRST.tokens[row]}",
            "key": f"{column} · {FIRST.tokens[column]}",
            "Weights A": f"{weights[row, column].item():.7g}",
        }
    assert point(flow, "weights", 1, 6)["Weights A"] == "masked"
    said = point(flow, "x", 5, 3)
    assert said["token"] == "5 · it"  # a row of X is a token, of no head's queries
    assert said["Input X"] == f"{FIRST.steps().x[0, 5, 3].item():.7g}"


def test_a_row_lights_in_every_matrix(visit: Begin) -> None:
    flow = CanvasOn(visit().open("/layer_lab"))
    point(flow, "v", 5, 1)
    lit = flow.run(LIT)
    assert len(lit) == 13
    for name, cells in lit.items():
        rows, columns = ([at[i] for at in cells if at[i] is not None] for i in (0, 1))
        square = name in ("scores_scaled", "mask", "scores", "weights")
        assert (rows, columns) == (([], [5]) if square else ([5], [])), name
    point(flow, "weights", 5, 2)  # query 5, key 2
    lit = flow.run(LIT)
    assert lit["scores"] == [[5, 2]]
    assert lit["q"] == lit["x"] == [[5, None], [2, None]]


def test_a_picked_cell_shows_a_sum_that_is_the_score(visit: Begin) -> None:
    one = visit()
    flow = CanvasOn(one.open("/layer_lab"))
    page, steps = flow.page, FIRST.steps()
    for row, column in ((6, 4), (5, 2)):
        point(flow, "weights", row, column)
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
        assert flow.run("return mode.header.picked;") == [0, row, column]


def with_a_weight(one: Visit) -> CanvasOn:
    """The lab's flow after a click on a cell of the weights."""
    flow = CanvasOn(one.open("/layer_lab"))
    flow.point(*flow.run(MIDDLE, ["weights", 6, 4]))
    flow.page.mouse.down()
    flow.page.mouse.up()
    expect(formula(flow.page)).to_have_count(1)
    one.idle()
    return flow


def test_what_a_click_says_is_in_the_window_beside_the_cell(visit: Begin) -> None:
    one = visit(height=900)
    flow = with_a_weight(one)
    pane = flow.page.locator(".st-key-cell_pane").bounding_box()
    assert pane and pane["y"] + pane["height"] <= 901
    flow.until(  # the page may still be scrolling
        BOX
        + """const b = boxOf("weights"), pane = document.querySelector(".st-key-cell_pane");
        const top = stage.picture.getBoundingClientRect().top + b.y - stage.top;
        return top > 50 && top + b.h < pane.getBoundingClientRect().top;"""
    )


def test_a_charts_floating_toolbar_covers_no_control_formula_or_number(visit: Begin) -> None:
    one = visit(height=1000)
    flow = with_a_weight(one)
    charts = flow.page.get_by_test_id("stVegaLiteChart")
    for i in range(charts.count()):
        charts.nth(i).hover()
        toolbar = flow.page.get_by_test_id("stElementToolbar").nth(i)
        expect(toolbar).to_have_css("opacity", "1")
        bar, chart = toolbar.bounding_box(), charts.nth(i).bounding_box()
        assert bar and chart
        assert bar["y"] + bar["height"] <= chart["y"] + 22  # its heading alone, above the axis
        for other in ("stSelectbox", "stMarkdownContainer"):
            for element in flow.page.locator(f".st-key-cell_pane [data-testid={other}]").all():
                box = element.bounding_box()
                apart = box is None or bar["y"] >= box["y"] + box["height"] - 0.5
                assert apart or bar["x"] >= box["x"] + box["width"] or box["y"] > bar["y"], other


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_whole_flow_is_in_the_window_with_its_controls(visit: Begin, scheme: str) -> None:
    flow = CanvasOn(visit(height=900, scheme=scheme).open("/layer_lab"))
    bottom, names = flow.run(
        "const top = stage.picture.getBoundingClientRect().top;"
        "const boxes = mode.chunks.flatMap((c) => c.boxes);"
        "const names = boxes.map((b) => mode.matrixOf(b).name);"
        "return [top + Math.max(...boxes.map((b) => b.y + b.h)), names];"
    )
    assert len(names) == 13 and "weights" in names
    pane = flow.page.locator(".st-key-cell_pane").bounding_box()
    assert pane and bottom < pane["y"] and pane["y"] + pane["height"] <= 901
    for label in ("d_model", "Heads", "Head"):
        slider = flow.page.locator(f'input[type=range][aria-label="{label}"]')
        assert (slider.bounding_box() or {"y": 1e9})["y"] < 900


@pytest.mark.parametrize("width", [400, 900])
def test_a_narrow_window_has_every_matrix_inside(visit: Begin, width: int) -> None:
    flow = CanvasOn(visit(width=width).open("/layer_lab?positions=T5+relative&sink=true"))
    right, wide = flow.run(
        "return [Math.max(...mode.chunks.map((c) => c.x + c.w)), stage.picture.clientWidth];"
    )
    assert right <= wide
    assert flow.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_key_on_a_slider_changes_the_picture(visit: Begin) -> None:
    one = visit()
    flow = CanvasOn(one.open("/layer_lab"))
    size = "const b = boxOf(argument); return [b.x, b.y, b.w, b.h];"
    for label, changed in (("Head", "weights"), ("d_model", "x")):
        before, box = shown(flow, changed), flow.run(BOX + size, changed)
        flow.page.locator(f'input[type=range][aria-label="{label}"]').focus()
        flow.page.keyboard.press("ArrowRight")
        one.idle()
        after = shown(flow, changed)
        assert after.shape != before.shape or (after != before).any()
        assert flow.run(BOX + size, changed) == box  # no slider moves the layout
    assert "head_lab=1" in flow.page.url
    assert "d_model=20" in flow.page.url


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_numbers_move_unless_the_reader_wants_stillness(visit: Begin, motion: Any) -> None:
    one = visit()
    flow = CanvasOn(one.open("/layer_lab"))
    flow.page.emulate_media(reduced_motion=motion)
    flow.run(
        "window.__seen = []; const draw = mode.draw.bind(mode);"
        "mode.draw = (ctx) => { window.__seen.push(mode.progress); draw(ctx); };"
    )
    flow.page.locator('input[type=range][aria-label="Head"]').focus()
    flow.page.keyboard.press("ArrowRight")
    flow.until("return mode.arrays && window.__seen.length && mode.progress === 1;")
    one.idle()
    seen = flow.run("return window.__seen;")
    assert seen[-1] == 1
    assert any(0 < progress < 1 for progress in seen) == (motion == "no-preference")


def test_a_picture_that_is_not_the_controls_says_so(visit: Begin) -> None:
    one = visit()
    flow = CanvasOn(one.open("/layer_lab"))
    assert flow.run("return mode.header.stale;") == ""
    box = flow.page.locator("textarea").first
    box.fill(" ")
    box.press("Control+Enter")
    flow.until("return mode.header.stale !== '';")
    assert "Not what the controls say" in flow.run("return mode.header.stale;")


def test_a_preset_is_one_click(visit: Begin) -> None:
    one = visit()
    flow = CanvasOn(one.open("/layer_lab"))
    flow.page.get_by_text("gpt-oss (sink)", exact=True).click()
    flow.until(
        "return mode.header.steps.some((s) => s.matrices.some((m) => m.name === 'sink_weights'));"
    )
    one.idle()
    for part in ("positions=RoPE", "norm=pre", "n_kv_heads=2", "sink=true"):
        assert part in flow.page.url


def test_a_cold_link_holds_the_whole_view(visit: Begin) -> None:
    link = (
        "/layer_lab?d_model=32&n_heads=2&head_lab=1&positions=ALiBi&mask=Sliding+window&window=3"
        "&norm=Before&seed=4&text_lab=one+two+three&temperature=2.0&code=true"
    )
    page = visit().open(link)
    program = page.locator('[data-testid="stCode"] code').first.inner_text()
    for part in (
        *("d_model=32", "n_heads=2", "positions='alibi'", "mask='sliding'", "window=3"),
        *("norm='pre'", "seed=4", "temperature=2.0", "['one', 'two', 'three']", "weights[0, 1]"),
    ):
        assert part in program


def test_a_real_head_has_the_models_numbers(visit: Begin) -> None:
    flow = CanvasOn(visit().open("/layer_lab?weights=head&model=smollm2-135m&layer=8&head=3"))
    model = attnviz.load("smollm2-135m")  # a trace alone would not keep it
    trace = model.trace(FIRST_TEXT)
    a = trace.attention(layer=8, head=3)
    seen, own = shown(flow, "weights"), a.weights().numpy()
    visible = np.tril(np.ones_like(own, dtype=bool))
    # The server may compute with other kernels and threads: float32 rounding.
    assert np.abs(seen - own)[visible].max() < 1e-5
    steps = real_head(trace, 8, 3).steps
    assert np.array_equal(shown(flow, "w_k"), steps.w_k[0].numpy())
    assert shown(flow, "w_q").shape == (576, 64)
    assert np.abs(shown(flow, "x") - trace.residual(8).numpy()).max() < 1e-3  # numbers up to 300
    said = point(flow, "weights", 13, 0)
    assert said["Weights A"] == f"{seen[13, 0]:.7g}"
    receipt = flow.page.locator('[data-testid="stCaptionContainer"]', has_text="Recomputed from")
    expect(receipt).to_contain_text("the model's")


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
    flow = CanvasOn(page)
    point(flow, "weights", 2, 1)
    assert flow.run("return root.querySelectorAll('img').length;") == 0
    expect(page.locator("img[src=x]")).to_have_count(0)


def test_explore_leads_to_the_same_head(visit: Begin) -> None:
    one = visit()
    page = one.open("/explore?model=tiny-induction&text=k+d+x+m+k+d&layer=1&head=3")
    page.get_by_role("button", name="Open this head in the Layer lab").click()
    page.wait_for_url("**/layer_lab?*")
    one.idle()
    flow = CanvasOn(page)
    flow.until("return mode.header?.title === 'Layer 1, head 3';")
    assert shown(flow, "weights").shape == (11, 11)
    one.idle()
    # What a page opens with is in the link from the next change on.
    page.locator('input[type=range][aria-label="Head"]').focus()
    page.keyboard.press("ArrowLeft")
    flow.until("return mode.header?.title === 'Layer 1, head 2';")
    one.idle()
    for part in ("weights=head", "model=tiny-induction", "text=k+d+x+m+k+d", "layer=1", "head=2"):
        assert part in page.url
