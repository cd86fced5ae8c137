"""The token strip in a real Chromium: tints, numbers, focus, wrapping."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from attnviz.canvas import as_html, strip_payload
from attnviz.canvas.codecs import as_shown
from tests.browser.apps import canvas_app
from tests.browser.canvas_page import CanvasOn

# How dark (in a light theme) each of these chips is on the picture, of 255.
DARKNESS = """
    const light = (c) => ((c & 255) + (c >> 8 & 255) + (c >> 16 & 255)) / 3;
    return argument.map((chip) => {
        const packed = mode.colorOf(chip);
        return packed === null ? null : 255 - light(packed);
    });
"""


@pytest.fixture
def look(look) -> Callable[..., CanvasOn]:
    def at(query: str, **how: object) -> CanvasOn:
        return look(f"mode=strip&{query}", **how)

    return at


def weights_of(n: int, kind: str = "decoder", layer: int = 1, head: int = 2) -> np.ndarray:
    return canvas_app.trace_of(kind, n).attention(layer, head).weights().double().numpy()


def middle(canvas: CanvasOn, chip: int) -> tuple[float, float]:
    """Where a chip's middle is on the canvas, scrolled into view."""
    x, y = canvas.run(
        "let box = mode.boxOf(argument);"
        "if (box.y < 0 || box.y + box.h > stage.height) {"
        "  stage.scroll.scrollTop += box.y - 4;"
        "  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
        "  box = mode.boxOf(argument);"
        "}"
        "return [box.x + box.w / 2, box.y + box.h / 2];",
        chip,
    )
    return x, y


def click(canvas: CanvasOn, chip: int) -> None:
    canvas.point(*middle(canvas, chip))
    canvas.page.mouse.down()
    canvas.page.mouse.up()


def choose(canvas: CanvasOn, measure: str) -> None:
    canvas.page.get_by_label("Measure").select_option(measure)
    canvas.settle()


def expected(w: np.ndarray, i: int) -> dict[str, str]:
    """A token's numbers as the tooltip prints them."""
    n = len(w)
    entropy = -(w[i] * np.log2(np.where(w[i] > 0, w[i], 1))).sum()
    return {
        "attention received": as_shown(w[:, i].sum() / (n - i)),
        "attention given": as_shown(w[i].sum() - w[i, i]),
        "entropy": f"{entropy:.3f} bits",
    }


def same(shown: str, wanted: str) -> bool:
    """Equal, or apart by the last digit: sums of thousands of float32 numbers round."""
    a, b = (float(text.split()[0].replace("<", "0")) for text in (shown, wanted))
    return shown == wanted or abs(a - b) <= 1.01 * max(
        1e-3 * abs(b) if "bits" not in wanted else 1e-3, 1e-7
    )


@pytest.mark.parametrize("n, chips", [(64, (0, 1, 9, 40, 63)), (2000, (0, 37, 1200, 1999))])
def test_the_tooltip_is_the_backends_number_and_asks_nobody(look, n, chips):
    canvas, w = look(f"n={n}&height=300"), weights_of(n)
    runs = canvas.said()["runs"]
    for chip in chips:
        canvas.point(*middle(canvas, chip))
        tip = canvas.tip()
        assert tip["token"].startswith(f"{chip} · ")
        wanted = expected(w, chip)
        assert all(same(tip[name], wanted[name]) for name in wanted), (chip, tip, wanted)
    assert canvas.run("return mode.drawn;") < 200  # only what is on screen
    assert canvas.said()["runs"] == runs


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_tint_follows_the_numbers(look, scale):
    n = 64
    canvas, w = look(f"n={n}"), weights_of(n)
    canvas.page.get_by_label("Color scale").select_option(scale)
    runs = canvas.said()["runs"]
    numbers = {
        "received": w.sum(axis=0) / np.arange(n, 0, -1),
        "sent": w.sum(axis=1) - np.diag(w),
        "entropy": -(w * np.log2(np.where(w > 0, w, 1))).sum(axis=1),
    }
    for measure, values in numbers.items():
        choose(canvas, measure)
        dark = np.array(canvas.run(DARKNESS, list(range(n))))
        assert (np.diff(dark[np.argsort(values)]) >= -0.5).all(), measure
        assert len(np.unique(dark)) > n / 4, measure  # most can be told apart
        assert canvas.page.get_by_label("Color scale").is_enabled() == (measure == "received")
    assert canvas.said()["runs"] == runs


def test_a_click_focuses_a_token_and_another_lets_go(look):
    n, at = 64, 30
    canvas, w = look(f"n={n}"), weights_of(n)
    click(canvas, at)
    canvas.wait_for("said.token !== null")
    assert canvas.said()["token"] == ["row", at]
    canvas.run(
        "while (mode.known !== argument) await new Promise((done) => setTimeout(done, 10));", at
    )
    canvas.settle()
    title = canvas.run("return mode.measures.selectedOptions[0].textContent;")
    assert title == f"What “w4” ({at}) attends to"
    dark = canvas.run(DARKNESS, list(range(n)))
    assert dark[at + 1 :] == [None] * (n - at - 1)  # masked
    shown = np.array(dark[: at + 1])
    assert (np.diff(shown[np.argsort(w[at, : at + 1])]) >= -0.5).all()
    canvas.point(*middle(canvas, 12))
    tip = canvas.tip()
    assert tip[f"attention from {at}"] == as_shown(float(np.float32(w[at, 12])))
    assert tip[f"attention to {at}"] == "masked"
    canvas.point(*middle(canvas, 50))
    assert canvas.tip()[f"attention to {at}"] == as_shown(float(np.float32(w[50, at])))
    choose(canvas, "sent")
    dark = canvas.run(DARKNESS, list(range(n)))
    assert dark[:at] == [None] * at and None not in dark[at:]
    # else it would be a double click
    canvas.until("return performance.now() - mode.clicked.at > 400;")
    click(canvas, at)
    canvas.wait_for("said.token === null")
    assert canvas.run("return [mode.focus, mode.known];") == [None, None]


def test_a_double_click_is_one_click(look):
    canvas = look("n=64")
    runs = canvas.said()["runs"]
    left, top = canvas.box()
    x, y = middle(canvas, 5)
    canvas.page.mouse.dblclick(left + x, top + y)
    canvas.wait_for("said.token !== null")
    assert canvas.said()["token"] == ["row", 5]
    # what is said next comes after all that was said before
    canvas.until("return performance.now() - mode.clicked.at > 400;")
    click(canvas, 5)
    canvas.wait_for("said.token === null")
    assert canvas.said()["runs"] == runs + 2


def test_keys_walk_focus_and_let_go(look):
    canvas = look("n=300&height=200")
    press = canvas.page.keyboard.press
    cursor = "return mode.hovered;"
    canvas.run("stage.picture.focus();")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        press(key)
    assert canvas.run(cursor) == 1
    assert "received" in canvas.run("return stage.live.textContent;")
    press("ArrowDown")
    below = canvas.run(cursor)
    first, second = canvas.run("return mode.lines.slice(0, 2);")
    assert second["from"] <= below < second["to"]
    press("ArrowUp")
    assert first["from"] <= canvas.run(cursor) < first["to"]
    press("End")
    canvas.settle()
    assert canvas.run(cursor) == 299 and canvas.run("return stage.top;") > 0
    box = canvas.run("return [mode.boxOf(299), stage.height];")
    assert box[0]["y"] >= 0 and box[0]["y"] + box[0]["h"] <= box[1]
    press("Enter")
    canvas.wait_for("said.token !== null")
    assert canvas.said()["token"] == ["row", 299]
    press("Home")
    canvas.settle()
    assert canvas.run("return [mode.hovered, stage.top];") == [0, 0]
    press("Escape")
    canvas.wait_for("said.token === null")


def test_cross_attention_has_two_texts(look):
    layer, n = 5, 24
    canvas, w = (
        look(f"n={n}&kind=encoder-decoder&layer={layer}"),
        weights_of(n, "encoder-decoder", layer),
    )
    n_q, n_k = w.shape
    dark = canvas.run(DARKNESS, list(range(n_k + n_q)))
    assert None not in dark[:n_k] and dark[n_k:] == [None] * n_q
    choose(canvas, "sent")
    assert "which queries attend to it" in canvas.run("return stage.note.textContent;")
    click(canvas, 4)  # of the source: who looks at it?
    canvas.wait_for("said.token !== null")
    assert canvas.said()["token"] == ["col", 4]
    canvas.run("while (mode.known !== 4) await new Promise((done) => setTimeout(done, 10));")
    dark = canvas.run(DARKNESS, list(range(n_k + n_q)))
    assert dark[:n_k] == [None] * n_k
    assert (np.diff(np.array(dark[n_k:])[np.argsort(w[:, 4])]) >= -0.5).all()
    click(canvas, n_k + 3)  # of the target: at what does it look?
    canvas.wait_for("said.token[0] === 'row'")
    canvas.run(
        "while (mode.known !== argument) await new Promise((done) => setTimeout(done, 10));",
        n_k + 3,
    )
    assert canvas.run("return mode.measure;") == "received"
    canvas.point(*middle(canvas, 7))
    assert canvas.tip()["attention from 3"] == as_shown(float(np.float32(w[3, 7])))


def test_a_text_the_head_does_not_look_at_cannot_be_focused(look):
    canvas = look("n=24&kind=encoder-decoder&layer=1")
    runs = canvas.said()["runs"]
    target = canvas.run("return mode.sections[1].start;")
    click(canvas, target + 2)
    assert canvas.tip()[""] == "this head does not attend to this text"
    # nothing was said: what is said next is the first
    click(canvas, 2)
    canvas.wait_for("said.token !== null")
    assert canvas.said()["token"][1] == 2 and canvas.said()["runs"] == runs + 1


def test_it_takes_the_height_it_needs_and_wraps_anew(look):
    height = (
        "const frame = root.querySelector('.frame').offsetHeight;"
        "return [frame, mode.lines.length, stage.height, mode.contentHeight()];"
    )
    short = look("n=8&height=500")
    tall, lines, seen, content = short.run(height)
    assert lines == 1 and tall < 110 and seen == pytest.approx(content, abs=1)
    canvas = look("n=64&height=500")
    wide = canvas.run(height)
    assert wide[0] < 300 and wide[2] == pytest.approx(wide[3], abs=1)
    before = canvas.run("return stage.width;")
    canvas.page.set_viewport_size({"width": 900, "height": 800})
    canvas.until("return stage.width < argument;", before)
    canvas.settle()
    narrow = canvas.run(height)
    assert (
        narrow[1] > wide[1] and narrow[0] > wide[0] and narrow[2] == pytest.approx(narrow[3], abs=1)
    )
    right = canvas.run(
        "const {xs, shown} = mode.chips;"
        "return Math.max(...mode.names.map((_, i) => xs[i] + shown[i])) - stage.width;"
    )
    assert right <= 0
    long = look("n=2000&height=260").run(height)
    assert long[0] <= 260 and long[3] > 2000  # scrolls


def test_written_tokens_are_marked_and_explained(look):
    canvas = look("n=40&start=36")
    assert canvas.page.get_by_text("generated", exact=True).is_visible()
    color = """
        const box = mode.boxOf(argument), ctx = stage.picture.getContext("2d");
        const [x, y] = [box.x + box.w / 2, box.y + box.h + 3].map((v) => Math.round(v * stage.dpr));
        return [...ctx.getImageData(x, y, 1, 1).data].join();
    """
    marks = [canvas.run(color, chip) for chip in (34, 35, 36, 39)]
    assert marks[0] == marks[1] != marks[2] == marks[3]
    assert not look("n=40").page.get_by_text("generated", exact=True).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_odd_tokens_show_as_themselves(look, scheme):
    canvas = look("n=40", scheme=scheme)
    canvas.page.on("dialog", lambda dialog: pytest.fail(f"a token ran as script: {dialog.message}"))
    canvas.page.get_by_role("button", name="Show the numbers on screen as a table").click()
    assert canvas.run("return root.querySelectorAll('img, script').length;") == 0
    table = canvas.run("return root.querySelector('table').innerText;")
    drawn = canvas.run("""
        const texts = []; const own = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
            texts.push(text);
            own.call(this, text, ...at);
        };
        stage.repaint();
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        CanvasRenderingContext2D.prototype.fillText = own;
        return texts;
    """)
    for token in ("<img src=x onerror=alert(1)>", "שלום", "中文", "👩‍🚀", "↵", "&amp;"):
        assert token in drawn and token in table, token
    click(canvas, 0)
    canvas.wait_for("said.token !== null")
    assert canvas.run("return root.querySelectorAll('img, script').length;") == 0
    assert canvas.save("PNG, 2x")[1][:8] == b"\x89PNG\r\n\x1a\n"


def test_a_narrow_token_is_written_too(look):
    canvas = look("n=8")
    canvas.run("mode.names[2] = ','; mode.widths = null; stage.resize();")
    drawn = canvas.run("""
        const texts = [], ctx = stage.picture.getContext("2d");
        ctx.fillText = (text) => texts.push(text);
        mode.draw(ctx);
        delete ctx.fillText;
        return texts;
    """)
    assert "," in drawn


def test_a_saved_strip_opens_offline(browser, tmp_path):
    file = tmp_path / "saved.html"
    file.write_text(as_html(strip_payload(canvas_app.trace_of("decoder", 20), 1, 2), "Tokens"))
    context = browser.new_context(offline=True, color_scheme="dark")
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(file.as_uri())
    find = "document.querySelector('.canvas-root').attnviz"
    page.wait_for_function(f"() => {find}?.stage.painted > 0")
    page.mouse.click(80, 90)
    assert page.evaluate(f"() => [{find}.modeName, {find}.mode.focus]") == ["strip", None]
    assert not problems
    context.close()


def test_an_unknown_token_is_hatched_counted_and_named(look):
    canvas = look("mode=strip&n=8&unknown")
    plain = canvas.run("return mode.names.indexOf('[UNK]');")
    assert plain == 8  # the last
    assert canvas.run("return mode.unknown.textContent;") == "1 token unknown to the vocabulary"
    canvas.point(*middle(canvas, plain))
    tip = canvas.tip()
    id = canvas_app.tokenizer().unk_token_id
    assert tip[""] == f"unknown ([UNK], id {id})"
    assert tip["in the text"] == "🦄"
    colors = canvas.run(
        """
        const box = mode.boxOf(argument), ctx = stage.picture.getContext("2d"), dpr = stage.dpr;
        const at = [box.x + 8, box.y + 3, box.w - 16, 3].map((px) => Math.round(px * dpr));
        const { data } = ctx.getImageData(...at);
        return new Set(Array.from({ length: data.length / 4 },
            (_, i) => data.slice(4 * i, 4 * i + 3).join())).size;
        """,
        plain,
    )
    assert colors > 1  # above the text, only a hatched chip has more than its ground
    canvas.point(*middle(canvas, 0))
    assert canvas.tip()["id"] == "0"
    assert canvas.tip()["bytes"].startswith("3C 69 6D 67")  # <img
