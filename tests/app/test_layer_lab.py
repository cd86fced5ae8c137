"""The Layer lab, every control of it moved: its pictures hold the backend's numbers throughout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.analysis.cell_steps import cell_steps
from attnviz.analysis.lab import Lab
from attnviz.analysis.real_head import real_head
from attnviz.canvas import wire
from attnviz.ui.lab.presets import PRESETS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "layer_lab.py", default_timeout=120).run()


def pictures(app: AppTest) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Every matrix of the flow by its name: what is said of it, and its numbers."""
    (flow,) = app.get("bidi_component")
    header, arrays = wire.unpack(flow.proto.bytes)
    matrices = [matrix for step in header["steps"] for matrix in step["matrices"]]
    drawn = {matrix["name"]: (matrix, arrays[matrix["array"]]) for matrix in matrices}
    assert len(drawn) == len(matrices)
    return drawn


def header_of(app: AppTest) -> dict[str, Any]:
    (flow,) = app.get("bidi_component")
    return wire.unpack(flow.proto.bytes)[0]


def shown(app: AppTest) -> Lab:
    return app.session_state["_lab"]


# Not drawn: each is the same picture as another.
NOT_DRAWN = {"scores_raw", "output"}


def holds_the_backends_numbers(app: AppTest) -> None:
    """Each matrix has the numbers that the layer has, computed afresh."""
    assert not app.exception
    lab, drawn = shown(app), pictures(app)
    together = app.toggle(key="together").value
    heads = [slider for slider in app.slider if slider.key == "head_lab"]
    head = heads[0].value if heads else 0
    steps = lab.steps()
    stages = {stage.name: stage for stage in steps.stages if stage.name not in NOT_DRAWN}
    assert drawn.keys() == stages.keys()
    for name, stage in stages.items():
        values = stage.value[0].float().numpy()
        if stage.per_head and not together:
            values = values[head * len(values) // lab.config.n_heads]
        if name in ("weights", "weights_dropped", "mask") and steps.mask is not None:
            values = np.where(steps.mask[0, 0].numpy(), values, -np.inf)  # hatched
        said, array = drawn[name]
        assert np.array_equal(array, values), name
        rows, columns = lab.stage_labels(stage)
        names = header_of(app)["names"]
        assert (tuple(names[said["rows"]]), tuple(names[said["cols"]])) == (rows, columns)


def test_the_first_view(app: AppTest) -> None:
    holds_the_backends_numbers(app)
    assert not app.error
    lab = shown(app)
    assert lab.tokens == ("The", "cat", "sat", "down", "because", "it", "was", "tired")
    # What is shown when the first settings can't be is what those controls' defaults make.
    from attnviz.ui.lab.layer_controls import FIRST

    assert lab == FIRST
    assert header_of(app)["stale"] == ""


# (how to move the control, what it changes in the layer)
Move = Callable[[AppTest], Any]
MOVES: dict[str, tuple[Move, Callable[[Lab], bool]]] = {
    "d_model": (lambda a: a.slider(key="d_model").set_value(32), lambda b: b.config.d_model == 32),
    "n_heads": (
        lambda a: a.select_slider(key="n_heads").set_value(2),
        lambda b: b.config.n_heads == 2,
    ),
    "n_kv_heads": (
        lambda a: a.number_input(key="n_kv_heads").set_value(2),
        lambda b: b.config.kv_heads == 2,
    ),
    "d_head": (
        lambda a: a.number_input(key="d_head").set_value(6),
        lambda b: b.config.head_dim == 6,
    ),
    "architecture": (
        lambda a: a.selectbox(key="architecture").set_value("encoder"),
        lambda b: b.architecture == "encoder" and b.config.mask == "none",
    ),
    "layers": (
        lambda a: (
            a.number_input(key="layers").set_value(3)
            and a.run()
            and a.number_input(key="layer_lab").set_value(2)
        ),
        lambda b: (b.layers, b.layer) == (3, 2),
    ),
    "padding": (lambda a: a.slider(key="padding").set_value(3), lambda b: b.padding == 3),
    **{
        f"mask {mask}": (
            lambda a, mask=mask: a.selectbox(key="mask").set_value(mask),
            lambda b, mask=mask: b.config.mask == mask,
        )
        for mask in ("none", "sliding", "prefix")
    },
    "window": (
        lambda a: (
            a.selectbox(key="mask").set_value("sliding").run()
            and a.slider(key="window").set_value(2)
        ),
        lambda b: b.config.window == 2,
    ),
    "prefix": (
        lambda a: (
            a.selectbox(key="mask").set_value("prefix").run()
            and a.slider(key="prefix").set_value(5)
        ),
        lambda b: b.config.prefix == 5,
    ),
    **{
        f"positions {scheme}": (
            lambda a, scheme=scheme: a.selectbox(key="positions").set_value(scheme),
            lambda b, scheme=scheme: b.config.positions == scheme,
        )
        for scheme in ("sinusoidal", "learned", "rope", "alibi", "t5")
    },
    "scale none": (
        lambda a: a.segmented_control(key="scale").set_value("none"),
        lambda b: b.config.scale == "none",
    ),
    "scale value": (
        lambda a: (
            a.segmented_control(key="scale").set_value("value").run()
            and a.slider(key="scale_value").set_value(1.25)
        ),
        lambda b: b.config.scale == 1.25,
    ),
    "temperature": (
        lambda a: a.slider(key="temperature").set_value(0.3),
        lambda b: b.config.temperature == 0.3,
    ),
    "softcap": (
        lambda a: a.number_input(key="softcap").set_value(1.5),
        lambda b: b.config.softcap == 1.5,
    ),
    "qk_norm": (lambda a: a.toggle(key="qk_norm").set_value(True), lambda b: b.config.qk_norm),
    "sink": (lambda a: a.toggle(key="sink").set_value(True), lambda b: b.config.sink),
    "residual": (
        lambda a: a.toggle(key="residual").set_value(False),
        lambda b: not b.config.residual,
    ),
    **{
        f"norm {norm}": (
            lambda a, norm=norm: a.segmented_control(key="norm").set_value(norm),
            lambda b, norm=norm: b.config.norm == norm,
        )
        for norm in ("pre", "none")
    },
    "norm_kind": (
        lambda a: a.segmented_control(key="norm_kind").set_value("rms"),
        lambda b: b.config.norm_kind == "rms",
    ),
    "feed_forward": (
        lambda a: (
            a.toggle(key="feed_forward").set_value(True).run()
            and a.selectbox(key="activation").set_value("swiglu")
        ),
        lambda b: b.config.feed_forward and b.config.activation == "swiglu",
    ),
    "seed": (lambda a: a.number_input(key="seed").set_value(5), lambda b: b.config.seed == 5),
    "bias": (lambda a: a.toggle(key="bias").set_value(True), lambda b: b.config.bias),
    "dropout": (
        lambda a: a.slider(key="dropout").set_value(0.5),
        lambda b: b.config.dropout == 0.5,
    ),
    "text": (
        lambda a: a.text_area(key="text_lab").set_value("a b a"),
        lambda b: b.tokens == ("a", "b", "a"),
    ),
    "characters": (
        lambda a: a.segmented_control(key="unit").set_value("characters"),
        lambda b: b.tokens[:5] == tuple("The␣c"),
    ),
    "vectors": (
        lambda a: (
            a.segmented_control(key="unit").set_value("random").run()
            and a.slider(key="vectors").set_value(5)
        ),
        lambda b: b.tokens == ("x0", "x1", "x2", "x3", "x4"),
    ),
    **{
        f"part {part}": (
            lambda a, part=part: (
                a.selectbox(key="architecture").set_value("encoder-decoder").run()
                and a.segmented_control(key="part").set_value(part)
            ),
            lambda b, part=part: b.part == part and b.context != (),
        )
        for part in ("cross", "decoder", "encoder")
    },
}
# Moves after which the layer's last output is the same on purpose
SAME_OUTPUT = {"part decoder"}


@pytest.mark.parametrize("name", MOVES)
def test_each_control_changes_what_it_says(app: AppTest, name: str) -> None:
    move, arrived = MOVES[name]
    before = shown(app).steps().output
    move(app)
    app.run()
    holds_the_backends_numbers(app)
    assert not app.error
    assert arrived(shown(app))
    after = shown(app).steps().output
    same = before.shape == after.shape and bool((before == after).all())
    assert same == (name in SAME_OUTPUT)


def test_a_head_at_a_time_and_all_of_them(app: AppTest) -> None:
    app.slider(key="head_lab").set_value(3).run()
    holds_the_backends_numbers(app)
    app.toggle(key="together").set_value(True).run()
    holds_the_backends_numbers(app)
    assert pictures(app)["weights"][1].shape == (4, 8, 8)
    assert pictures(app)["weights"][0]["panels"] == [f"head {h}" for h in range(4)]
    assert not app.latex  # nothing picked yet
    app.selectbox(key="query_lab").set_value("7 · tired")
    app.selectbox(key="key_lab").set_value("0 · The")
    app.selectbox(key="cell_head").set_value("2").run()
    cell = cell_steps(shown(app).steps(), 2, 7, 0)
    assert f"{cell.raw:.5g}" in app.latex[0].value


def test_fewer_heads_than_the_one_shown(app: AppTest) -> None:
    app.slider(key="head_lab").set_value(3).run()
    app.select_slider(key="n_heads").set_value(2).run()
    assert app.slider(key="head_lab").value == 1
    holds_the_backends_numbers(app)
    app.select_slider(key="n_heads").set_value(1).run()
    holds_the_backends_numbers(app)


def test_a_cell_by_keyboard(app: AppTest) -> None:
    app.selectbox(key="query_lab").set_value("4 · because").run()
    app.selectbox(key="key_lab").set_value("1 · cat").run()
    cell = cell_steps(shown(app).steps(), 0, 4, 1)
    formula = app.latex[0].value
    for number in (*cell.product, cell.raw, cell.scaled, cell.weight):
        assert f"{number:.5g}" in formula
    assert header_of(app)["picked"] == [0, 4, 1]


def test_a_cell_that_a_shorter_text_does_not_have(app: AppTest) -> None:
    app.selectbox(key="key_lab").set_value("7 · tired").run()
    app.text_area(key="text_lab").set_value("one two").run()
    assert not app.exception
    assert app.selectbox(key="key_lab").value == "1 · two"


def test_a_hidden_cell_says_so(app: AppTest) -> None:
    app.selectbox(key="query_lab").set_value("0 · The").run()
    app.selectbox(key="key_lab").set_value("5 · it").run()
    assert "(masked)" in app.latex[0].value


@pytest.mark.parametrize(
    ("move", "sentence"),
    [
        (lambda a: a.text_area(key="text_lab").set_value("  "), "The text is empty."),
        (lambda a: a.text_area(key="text_lab").set_value("a " * 65), "65 words"),
    ],
)
def test_an_impossible_setting_is_one_sentence_and_nothing_is_lost(
    app: AppTest, move: Move, sentence: str
) -> None:
    app.number_input(key="seed").set_value(3).run()
    before = shown(app)
    move(app)
    app.run()
    assert not app.exception
    (error,) = app.error
    assert sentence in error.value.replace("\\", "")
    assert shown(app) == before  # the last picture that could be
    assert "the last layer that worked" in header_of(app)["stale"]
    holds_the_backends_numbers(app)
    assert app.number_input(key="seed").value == 3


def test_heads_snap_to_divisors_of_d_model(app: AppTest) -> None:
    assert app.select_slider(key="n_heads").options == ["1", "2", "4", "8", "16"]
    app.select_slider(key="n_heads").set_value(8).run()
    app.number_input(key="n_kv_heads").set_value(4).run()
    app.slider(key="d_model").set_value(28).run()
    assert (shown(app).config.n_heads, shown(app).config.kv_heads) == (7, 1)
    assert not app.error
    holds_the_backends_numbers(app)
    app.number_input(key="d_head").set_value(4).run()  # then any number of heads will do
    app.select_slider(key="n_heads").set_value(3).run()
    assert shown(app).config.n_heads == 3
    assert not app.error


def test_a_link_to_heads_that_do_not_divide_d_model_opens() -> None:
    app = AppTest.from_file(ROOT / "pages" / "layer_lab.py", default_timeout=120)
    app.query_params.update({"d_model": "20", "n_heads": "8"})
    app.run()
    assert not app.exception and not app.error
    assert (shown(app).config.d_model, shown(app).config.n_heads) == (20, 4)  # the first view's


@pytest.mark.parametrize(
    ("called", "norm"), [("Before", "pre"), ("After", "post"), ("Pre", "pre"), ("none", "none")]
)
def test_a_link_opens_whatever_the_norm_was_called(called: str, norm: str) -> None:
    app = AppTest.from_file(ROOT / "pages" / "layer_lab.py", default_timeout=120)
    app.query_params["norm"] = called
    app.run()
    assert not app.exception
    assert shown(app).config.norm == norm


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_every_control_and_is_marked(app: AppTest, name: str) -> None:
    app.slider(key="temperature").set_value(2.0).run()
    assert app.pills(key="preset").value is None
    app.pills(key="preset").set_value(name).run()
    assert not app.error
    assert app.pills(key="preset").value == name
    config = shown(app).config
    assert config.temperature == 1.0
    told = {"norm": config.norm, "positions": config.positions, "softcap": config.softcap}
    told |= {"sink": config.sink, "activation": config.activation, "n_kv_heads": config.n_kv_heads}
    assert told == {key: PRESETS[name][key] for key in told}
    holds_the_backends_numbers(app)


def test_what_a_row_is_is_said(app: AppTest) -> None:
    drawn = pictures(app)
    rows = {name: said["rowTitle"] for name, (said, _) in drawn.items()}
    assert {rows[name] for name in ("x", "concat", "projected", "residual_sum")} == {"token"}
    assert (rows["q"], rows["k"], rows["v"]) == ("query", "key", "key")
    assert (rows["weights"], drawn["weights"][0]["colTitle"]) == ("query", "key")


def test_contradictions_between_options_are_sentences(app: AppTest) -> None:
    app.number_input(key="d_head").set_value(5).run()
    app.selectbox(key="positions").set_value("rope").run()
    assert not app.exception
    assert "d_head = 5 is odd" in app.error[0].value.replace("\\", "")


def test_copy_as_code_computes_the_view(app: AppTest) -> None:
    assert not app.code  # closed, it costs nothing
    app.session_state["code"] = True
    app.slider(key="head_lab").set_value(2).run()
    names: dict[str, Any] = {}
    exec(app.code[0].value, names)
    visible = names["steps"].mask[0, 0].numpy()
    drawn = pictures(app)["weights"][1]
    assert np.array_equal(drawn[visible], names["steps"].weights[0, 2].numpy()[visible])
    assert "steps.weights[0, 2]" in app.code[0].value


@pytest.mark.parametrize("key", ["layers", "layer_lab", "seed", "n_kv_heads", "d_head"])
@pytest.mark.parametrize("value", ["inf", "-inf", "1e400", "nan"])
def test_an_invalid_number_in_a_link_is_ignored(key: str, value: str) -> None:
    app = AppTest.from_file(ROOT / "pages" / "layer_lab.py", default_timeout=120)
    app.query_params[key] = value
    app.run()
    assert not app.exception
    assert not app.warning
    box = app.number_input(key=key)
    assert box.value == {"layers": 1, "layer_lab": 0, "seed": 0}.get(key)
    assert key not in app.query_params
    if key != "layer_lab":  # of one layer none other can be shown
        box.set_value(2).run()
        assert not app.exception
        assert app.number_input(key=key).value == 2


def real(**parameters: str) -> AppTest:
    """A link to a head of a model, as it opens."""
    app = AppTest.from_file(ROOT / "pages" / "layer_lab.py", default_timeout=120)
    app.query_params.update({"weights": "head", "model": "tiny-induction", **parameters})
    app.run()
    assert not app.exception
    return app


def test_a_link_opens_a_real_head() -> None:
    app = real(text="k d x m k d", layer="1", head="2")
    model = attnviz.load("tiny-induction")
    steps = real_head(model.trace("k d x m k d"), 1, 2).steps
    drawn = pictures(app)
    stages = {stage.name: stage for stage in steps.stages if stage.name not in NOT_DRAWN}
    assert drawn.keys() == stages.keys() >= {"w_q", "w_k", "w_v", "w_o", "contribution"}
    for name in ("x", "normed", "w_q", "q", "scores_scaled", "contribution", "residual_sum"):
        values = stages[name].value[0].numpy()
        shape = drawn[name][1].shape
        assert np.abs(drawn[name][1] - values.reshape(shape)).max() < 1e-5, name
    assert "Recomputed from the model's own weights" in "".join(c.value for c in app.caption)
    app.slider(key="head").set_value(0).run()
    assert header_of(app)["title"] == "Layer 1, head 0"
    assert header_of(app)["stale"] == ""


def test_a_head_that_cannot_be_shown_leaves_the_last_one_and_says_so() -> None:
    app = real(text="k d x m k d", layer="1", head="2")
    before = pictures(app)["weights"][1]
    app.text_area(key="text").set_value("k d " * 40).run()
    assert not app.exception
    assert "the lab shows at most 128" in app.error[0].value.replace("\\", "")
    assert "the last head that could be shown" in header_of(app)["stale"]
    assert np.array_equal(pictures(app)["weights"][1], before)


def test_the_code_of_a_real_head_computes_it() -> None:
    app = real(text="k d x m k d", layer="1", head="2", code="true")
    names: dict[str, Any] = {}
    exec(app.code[0].value, names)
    drawn, own = pictures(app)["weights"][1], names["head"].steps.weights[0, 0].numpy()
    assert np.abs(drawn - own)[np.isfinite(drawn)].max() < 1e-5


def test_one_goes_from_a_head_in_explore_to_the_lab() -> None:
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    app.run()
    app.query_params.update(
        {"model": "tiny-induction", "text": "k d x m k d", "layer": "1", "head": "3"}
    )
    app.switch_page("pages/explore.py").run()
    assert not app.exception
    app.button(key="open_lab").click().run()
    assert not app.exception
    assert header_of(app)["title"] == "Layer 1, head 3"
    assert app.selectbox(key="model").value == "tiny-induction"
    assert app.text_area(key="text").value == "k d x m k d"
