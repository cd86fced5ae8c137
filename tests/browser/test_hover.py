"""What is hovered in one canvas lights up in the others of the page, without the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.canvas_page import CanvasOn

# Whose canvases these are, by the order of tests/browser/apps/canvas_app.py: show_together().
ORDER = ("map", "strip", "lines", "neuron", "norms", "grid", "other")
ALL = """
    const hosts = [...document.querySelectorAll('[data-testid="stBidiComponentIsolated"]')];
    const modes = hosts.map((h) => h.shadowRoot?.querySelector('.canvas-root')?.attnviz?.mode);
"""
LIT = (
    ALL
    + """
    const { litCells } = await import(
        performance.getEntriesByType("resource").find((e) => /hoverlink/.test(e.name)).name);
    const { litChips } = await import(
        performance.getEntriesByType("resource").find((e) => /stripdraw/.test(e.name)).name);
    const { placeOn } = await import(
        performance.getEntriesByType("resource").find((e) => /hoverlink/.test(e.name)).name);
    const map = (mode) => (mode.lit ? litCells(mode.header, mode.lit) : []);
    const [shown, strip, lines, neuron, norms, , other] = modes;
    return {
        map: map(shown), norms: map(norms), other: map(other),
        strip: litChips(strip, strip.lit), neuron: neuron._litRow(),
        lines: lines.lit && [placeOn(lines.header.rowAxis, lines.rows.length, lines.lit.query),
            placeOn(lines.header.colAxis, lines.cols.length, lines.lit.key)],
    };
"""
)


@pytest.fixture
def together(look) -> Callable[..., CanvasOn]:
    def at(query: str = "n=12") -> CanvasOn:
        canvas = look(f"together&{query}")
        canvas.page.wait_for_function(
            f"(n) => {{ {ALL} return modes.length === n && modes.every((m) => m?.stage.painted) }}",
            arg=len(ORDER),
        )
        return canvas

    return at


def lit(canvas: CanvasOn) -> dict[str, Any]:
    return canvas.page.evaluate(f"async () => {{ {LIT} }}")


def hover(canvas: CanvasOn, which: str, where: str) -> None:
    """Move the mouse onto a canvas; ``where`` computes its point from ``mode``."""
    index = ORDER.index(which)
    canvas.page.evaluate(
        f"(i) => {{ {ALL} modes[i].stage.root.scrollIntoView({{ block: 'center' }}); }}", index
    )
    x, y = canvas.page.evaluate(
        f"(i) => {{ {ALL} const mode = modes[i], b = mode.stage.picture.getBoundingClientRect();"
        f" const [x, y] = (() => {{ {where} }})(); return [b.left + x, b.top + y]; }}",
        index,
    )
    canvas.page.mouse.move(x + 1, y + 1)
    canvas.page.mouse.move(x, y)


CHIP = "const b = mode.boxOf(%d); return [b.x + b.w / 2, b.y + b.h / 2];"


def test_a_cell_lights_its_query_and_its_key_everywhere(together):
    canvas = together()
    hover(canvas, "map", "return mode.middleOf([7, 3]);")
    assert lit(canvas) == {
        "map": [],
        "strip": [7, 3],
        "lines": [7, 3],
        "neuron": 3,
        "norms": [[7, None], [3, None]],
        "other": [[None, None]],  # of another trace
    }
    canvas.page.mouse.move(2, 2)
    nothing = {"map": [], "strip": [], "lines": None, "neuron": None, "norms": [], "other": []}
    assert lit(canvas) == nothing
    assert canvas.said()["runs"] == 1  # the server heard of nothing


def test_a_token_lights_from_every_canvas(together):
    canvas = together()
    hover(canvas, "strip", CHIP % 5)
    one = lit(canvas)
    assert (one["map"], one["lines"], one["neuron"]) == ([[5, 5]], [5, 5], 5)
    hover(canvas, "lines", "return [mode._x0 - 12, mode._y(2)];")
    one = lit(canvas)
    assert (one["map"], one["strip"]) == ([[2, None]], [2])
    hover(
        canvas, "neuron", "return [mode.kx + 3, 92 + 22 * 8.5 - mode.stage.top];"
    )  # the ninth key
    one = lit(canvas)
    assert (one["map"], one["strip"]) == ([[11, 8]], [11, 8])
    hover(canvas, "norms", "return mode.middleOf([4, 1]);")
    assert lit(canvas)["map"] == [[4, 4]]
    hover(canvas, "other", "return mode.middleOf([6, 6]);")
    assert lit(canvas)["map"] == [[None, None]]
    assert lit(canvas)["strip"] == []
    assert canvas.said()["runs"] == 1


def test_cross_attention_keeps_its_two_texts_apart(together):
    canvas = together("kind=encoder-decoder&n=12&layer=3")  # the first of kind "cross"
    n_q, n_k = canvas.run("return mode.shape;")
    assert n_q < n_k
    hover(canvas, "map", "return mode.middleOf([5, 2]);")
    one = lit(canvas)
    assert one["strip"] == [n_k + 5, 2]  # the source stands above the target
    assert one["lines"] == [5, 2] and one["norms"] == [[5, None], [None, None]]
    hover(canvas, "strip", CHIP % 4)  # a source token is a key
    assert lit(canvas)["map"] == [[None, 4]]


def test_a_hovered_head_is_shown_enlarged(together):
    canvas = together()
    hover(canvas, "grid", "const h = mode.shown[4]; return [h.x + 6, h.y + 6];")
    same = canvas.page.evaluate(f"""() => {{ {ALL}
        const mode = modes[5], picture = mode.stage.tipBox.querySelector("canvas");
        const big = picture.getContext("2d"), small = mode.hovered.image.getContext("2d");
        const times = picture.width / mode.hovered.image.width;
        const at = (ctx, x, y) => [...ctx.getImageData(x, y, 1, 1).data];
        const places = [...Array(144).keys()].map((n) => [n % 12, Math.floor(n / 12)]);
        const cells = places.map(([j, i]) =>
            [at(small, j, i), at(big, (j + 0.5) * times, (i + 0.5) * times)]);
        const seen = cells.filter(([one]) => one[3] > 0);
        const alike = seen.every(([one, other]) => one.join() === other.join());
        return [picture.width, seen.length, alike,
            cells.every(([, other]) => other[3] === 255)];
    }}""")
    # masked cells are clear in the thumbnail, and hatched where it is enlarged
    assert same == [192, 12 * 13 // 2, True, True]
    assert canvas.said()["runs"] == 1
