"""Payloads of the canvas, decoded, against their trace."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz.analysis import overviews
from attnviz.canvas import (
    CanvasState,
    TokenRef,
    Viewport,
    assemble_grid,
    bundle,
    grid_layer,
    grid_payload,
    lines_payload,
    map_payload,
    matrix_payload,
    neuron_payload,
    strip_payload,
    wire,
)
from attnviz.canvas.codecs import MASKED, SignificantDigits, as_shown, codec_of
from attnviz.canvas.neuron import BYTES, KEYS
from attnviz.canvas.tiles import tile_bounds
from attnviz.errors import AttnVizError
from tests.browser.apps.canvas_app import trace_of

N = 40


@pytest.fixture(scope="module")
def trace():
    return trace_of("decoder", N)


@pytest.fixture(scope="module")
def both():
    return trace_of("encoder-decoder", 12)


def weights(trace, layer=1, head=2):
    return trace.attention(layer, head).weights().numpy()


def close(codes, numbers):
    """Codes decode to the numbers as they are shown."""
    shown = SignificantDigits().decode(codes)
    assert np.allclose(shown, numbers, rtol=5.0001e-4, atol=1e-7)


def test_a_short_map_is_sent_whole_and_exact(trace):
    header, arrays = wire.unpack(map_payload(trace, 1, 2, cell=(3, 1)).encode(height=500))
    assert (header["mode"], header["shape"], header["height"]) == ("map", [N, N], 500)
    assert header["cell"] == [3, 1] and "tile" not in header
    assert header["rowNames"][0] == "<img src=x onerror=alert(1)>"
    assert (header["rowNames"][5], header["colNames"][3]) == ("↵", "中文")
    base, w = arrays["base"], weights(trace)
    hidden = np.triu_indices(N, 1)
    assert (base[hidden] == MASKED).all()
    close(np.where(base == MASKED, 0, base), w)
    np.testing.assert_allclose(arrays["rowMax"], w.max(1), atol=1e-6)
    np.testing.assert_allclose(arrays["colMax"], w.max(0), atol=1e-6)


def test_a_long_map_is_an_overview_and_a_tile_of_what_is_in_view(trace):
    first = map_payload(trace, 1, 2, size=16)
    assert first.base is not None and first.base.side == 3 and first.tile is None
    w = weights(trace)
    padded = np.zeros((42, 42), np.float32)
    padded[:N, :N] = w
    squares, hidden = padded.reshape(14, 3, 14, 3).max(axis=(1, 3)), np.triu_indices(14, 1)
    assert (first.base.codes[hidden] == MASKED).all()  # masked, and not zero
    squares[hidden] = np.nan
    shown = SignificantDigits().decode(first.base.codes)
    np.testing.assert_allclose(shown, squares, rtol=5.0001e-4, atol=1e-7)
    seen = Viewport((10, 20), (5, 15), have=first.id)
    answer = map_payload(trace, 1, 2, seen, size=16)
    assert answer.base is None and answer.tile is not None  # the browser has the overview
    (r0, r1), (c0, c1) = answer.tile.rows, answer.tile.cols
    assert r0 <= 10 and r1 >= 20 and c0 <= 5 and c1 >= 15
    codes = answer.tile.codes
    close(np.where(codes == MASKED, 0, codes), w[r0:r1, c0:c1])
    header, arrays = wire.unpack(answer.encode())
    assert set(arrays) == {"tile"} and "rowNames" not in header
    elsewhere = map_payload(trace, 1, 3, seen, size=16)
    assert elsewhere.base is not None  # another head's overview is not there yet


def test_scores_carry_their_own_steps(trace):
    payload = map_payload(trace, 1, 2, quantity="scores")
    header, arrays = wire.unpack(payload.encode())
    codec = codec_of(header["base"]["codec"])
    scores = trace.attention(1, 2).scores().numpy()
    got = codec.decode(arrays["base"])
    assert (np.isnan(got) == np.isneginf(scores)).all()
    seen = np.isfinite(scores)
    assert np.abs(got - scores)[seen].max() <= 0.5001 * 10.0**-codec.decimals


spans = st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)).map(lambda s: (s[0], s[0] + s[1]))


@given(spans, spans, st.integers(1, 10**6), st.integers(1, 10**6), st.integers(16, 1024))
def test_a_tile_covers_the_view_and_is_never_larger_than_allowed(rows, cols, n_q, n_k, size):
    r, c, side = tile_bounds(Viewport(rows, cols), (n_q, n_k), size)
    for (start, stop), seen, n in ((r, rows, n_q), (c, cols, n_k)):
        assert 0 <= start < stop <= n and start % side == 0
        assert start <= min(seen[0], n - 1) and stop >= min(seen[1], n)
        assert -(-(stop - start) // side) <= size
    half = side // 2
    if half:  # no finer one would have done
        spans = ((min(s, n - 1), min(e, n)) for (s, e), n in ((rows, n_q), (cols, n_k)))
        assert any(-(-e // half) - s // half > size for s, e in spans)


def test_the_grid_has_every_head_in_order(trace):
    payload = grid_payload(trace, selected=(1, 2), size=10)
    header, arrays = wire.unpack(payload.encode())
    assert header["selected"] == [1, 2]
    assert [layer["title"] for layer in header["layers"]] == ["Layer 0", "Layer 1", "Layer 2"]
    at = 0
    for layer in header["layers"]:
        small = overviews.thumbnails(trace, layer["index"], 10).numpy()
        assert layer["at"] == at
        count = layer["heads"] * layer["rows"] * layer["cols"]
        got = arrays["cells"][at : at + count].reshape(small.shape)
        expected = SignificantDigits().encode(small, np.triu(np.ones_like(small, bool), 1))
        np.testing.assert_array_equal(got, expected >> 8)  # squares over the diagonal are masked
        assert layer["keys"] == N
        at += count
    assert arrays["values"].shape == (12, len(header["metrics"]))
    assert arrays["values"][6, 0] == pytest.approx(payload.metrics[6].entropy)


def test_kinds_are_named_and_undefined_metrics_are_nan(both):
    header, arrays = wire.unpack(grid_payload(both).encode())
    titles = [layer["title"] for layer in header["layers"]]
    assert titles[:2] == ["Encoder layer 0", "Encoder layer 1"]
    assert "Cross layer 1" in titles
    keys = [metric["key"] for metric in header["metrics"]]
    cross = 4 * titles.index("Cross layer 1")
    assert np.isnan(arrays["values"][cross, keys.index("distance")])
    assert np.isfinite(arrays["values"][cross, keys.index("entropy")])


def test_a_refused_layer_is_named_with_its_reason(trace):
    payload = grid_payload(trace)
    gone = replace(trace.layers[1], source="refused", reason="of its own making", n_heads=0)
    left = {k: v for k, v in payload.thumbnails.items() if k != 1}
    shown = replace(payload, layers=(trace.layers[0], gone, trace.layers[2]), thumbnails=left)
    header, _ = wire.unpack(shown.encode())
    assert header["layers"][1]["reason"] == "of its own making"
    assert "heads" not in header["layers"][1]
    assert header["layers"][2]["at"] == payload.thumbnails[0].size


def test_layers_not_computed_yet_have_empty_thumbnails(trace):
    whole = grid_payload(trace)
    there = [grid_layer(trace, 0), grid_layer(trace, 2)]
    part = assemble_grid(trace, there)
    assert whole.complete and not part.complete and part.id != whole.id
    (header, arrays), (full, all_arrays) = (wire.unpack(x.encode()) for x in (part, whole))
    assert [layer.pop("pending", False) for layer in header["layers"]] == [False, True, False]
    assert header["layers"] == full["layers"]
    n, H = whole.thumbnails[0].size, trace.layers[0].n_heads
    assert not arrays["cells"][n : 2 * n].any() and np.isnan(arrays["values"][H : 2 * H]).all()
    for x in (slice(n), slice(2 * n, 3 * n)):
        np.testing.assert_array_equal(arrays["cells"][x], all_arrays["cells"][x])
    for x in (slice(H), slice(2 * H, 3 * H)):
        np.testing.assert_array_equal(arrays["values"][x], all_arrays["values"][x])


@pytest.mark.parametrize("heads", [None, [2], [3, 0]])
def test_lines_are_all_weights_from_the_floor_up(both, heads):
    layer = next(x.index for x in both.layers if x.kind == "cross")
    payload = lines_payload(both, layer, heads, floor=0.05)
    for place, head in enumerate(payload.heads):
        w = weights(both, layer, head)
        got = np.zeros_like(w, dtype=bool)
        for row in range(len(w)):
            lines = slice(payload.starts[place, row], payload.starts[place, row + 1])
            got[row, payload.keys[lines]] = True
            close(payload.codes[lines], w[row, payload.keys[lines]])
        np.testing.assert_array_equal(got, w >= 0.05)
    assert len(payload.row_names) == len(both.target_tokens)
    assert len(payload.col_names) == len(both.tokens)


def test_too_many_lines_raise_the_floor(trace):
    every = lines_payload(trace, 1, floor=1e-3)
    fewer = lines_payload(trace, 1, floor=1e-3, max_lines=100)
    assert len(every.codes) > 300 and 90 <= len(fewer.codes) <= 100
    strongest = np.sort(np.concatenate([weights(trace, 1, h).ravel() for h in range(4)]))[::-1]
    assert fewer.floor == pytest.approx(strongest[len(fewer.codes) - 1])
    header, _ = wire.unpack(fewer.encode())
    assert header["floor"] == fewer.floor


def test_neuron_has_the_parts_of_a_score(trace):
    header, arrays = wire.unpack(neuron_payload(trace, 1, 2, 7).encode())
    a = trace.attention(1, 2)
    assert (header["query"], header["queries"], header["keys"]) == (7, [0, N], [0, N])
    np.testing.assert_array_equal(arrays["q"], a.q.numpy())
    np.testing.assert_array_equal(arrays["k"], a.k.numpy())
    np.testing.assert_allclose(arrays["dots"], a.q.numpy() @ a.k.numpy().T, atol=1e-4)
    np.testing.assert_array_equal(arrays["scores"], a.scores().numpy())
    seen = np.tril_indices(N)
    np.testing.assert_allclose(
        arrays["scores"][seen], (header["scaling"] * arrays["dots"])[seen], atol=1e-4
    )
    codes = arrays["weightCodes"]
    assert (codes[np.triu_indices(N, 1)] == MASKED).all()
    close(codes[seen], a.weights().numpy()[seen])


def test_a_long_neuron_view_sends_one_query_and_the_keys_near_it():
    n = KEYS + 300
    trace = trace_of("decoder", n)
    for query in (5, n // 2, n - 1):
        payload = neuron_payload(trace, 0, 1, query)
        assert payload.queries == (query, query + 1)
        start, stop = payload.keys
        assert stop - start == KEYS and start <= query < stop
        assert len(payload.encode()) < BYTES * 2
        expected = trace.attention(0, 1).weights(slice(query, query + 1), slice(start, stop))
        np.testing.assert_array_equal(payload.weights, expected.numpy())


def test_missing_layers_and_heads_are_errors(trace):
    for wrong in (
        lambda: map_payload(trace, 9, 0),
        lambda: map_payload(trace, 0, 9),
        lambda: lines_payload(trace, 0, [9]),
        lambda: lines_payload(trace, 0, []),
        lambda: lines_payload(trace, 9),
        lambda: neuron_payload(trace, 0, 0, N),
    ):
        with pytest.raises(AttnVizError):
            wrong()


def test_ids_tell_traces_heads_and_quantities_apart(trace, both):
    ids = [map_payload(trace, 0, h, quantity=q).id for h in (0, 1) for q in ("weights", "scores")]
    ids += [map_payload(both, 0, 0).id]
    assert len(set(ids)) == 5
    assert map_payload(trace, 0, 1).id == ids[2]


def test_a_matrix_is_sent_with_its_own_numbers():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 7)).astype(np.float32) * 30
    names = [f"row {i}" for i in range(5)]
    payload = matrix_payload(
        values, names, list("abcdefg"), title="K", id="k", value_title="K", two_sided=True, focus=3
    )
    header, arrays = wire.unpack(payload.encode(height=300))
    np.testing.assert_array_equal(arrays["exact"], values)
    codec = codec_of(header["base"]["codec"])
    step = 10.0 ** -header["base"]["codec"]["decimals"]
    np.testing.assert_allclose(codec.decode(arrays["base"]), values, atol=0.51 * step)
    np.testing.assert_allclose(arrays["rowMax"], np.abs(values).max(axis=1), atol=0.51 * step)
    assert (header["twoSided"], header["focus"], header["space"]) == (True, ["row", 3], "k")
    # weights need no more than their four digits
    masked = np.triu(np.ones((5, 7), bool), 1)
    weights = np.where(masked, 0, np.abs(values) / 200)
    payload = matrix_payload(weights, names, list("abcdefg"), title="W", id="w", masked=masked)
    header, arrays = wire.unpack(payload.encode())
    assert "exact" not in arrays
    assert (arrays["base"][masked] == MASKED).all()
    np.testing.assert_allclose(
        SignificantDigits().decode(arrays["base"])[~masked], weights[~masked], rtol=5.1e-4
    )


def test_state_from_a_browser_is_validated():
    full = CanvasState.of(
        {
            "selected": {"value": [1, 2], "turn": 1},
            "view": {"value": {"rows": [0, 5], "cols": [2, 9], "have": "t1/0"}, "turn": 5},
            "cell": {"value": [3, 4], "turn": 2},
            "query": {"value": 7, "turn": 3},
            "token": {"value": {"side": "col", "index": 3}, "turn": 4},
        }
    )
    assert full == CanvasState(
        (1, 2), Viewport((0, 5), (2, 9), "t1/0"), (3, 4), 7, TokenRef("col", 3)
    )
    for nonsense in (
        None,
        "text",
        {"selected": [1, 2], "query": 7},
        {"view": {"rows": [0, 5], "cols": [0, 1]}},
        *(
            {name: {"value": value, "turn": 1}}
            for name, values in {
                "selected": ([1], [1, "2"], None),
                "cell": ([True, 2], {"0": 1}),
                "query": (-1, 1.5, [1]),
                "view": (
                    {"rows": [5, 5], "cols": [0, 1]},
                    {"rows": [0, 1 << 40], "cols": [0, 1]},
                    [1, 2],
                ),
                "token": ({}, {"side": "up", "index": 1}, None),
            }.items()
            for value in values
        ),
    ):
        assert CanvasState.of(nonsense) == CanvasState()
    state = CanvasState.of({"view": {"value": {"rows": [0, 2], "cols": [0, 2], "have": 5}}})
    assert state.view == Viewport((0, 2), (0, 2))


def test_no_module_is_without_a_use():
    files = {file.stem for file in bundle.ASSETS.glob("*.js")}
    entries = ("component", "shares", "sharelink", "page")
    assert files == {module for entry in entries for module in bundle.modules(entry)}


@pytest.mark.parametrize("entry", ["main", "page"])
def test_the_modules_make_one_script(entry):
    """Every module is in it once, after those it imports; no import is left, and no name twice."""
    folder, modules = bundle.ASSETS, bundle.modules(entry)
    assert len(modules) == len(set(modules))
    for place, name in enumerate(modules):
        text = (folder / f"{name}.js").read_text()
        for other in re.findall(r'from "\./(\w+)\.js"', text):
            assert modules.index(other) < place, f"{name} imports {other}"
    code = bundle.script(entry)
    assert not re.search(r"^\s*import\b", code, re.MULTILINE)
    assert re.findall(r"^export .*", code, re.MULTILINE) == [
        "export default function (component) {"
    ]
    names = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", code, re.MULTILINE)
    assert len(names) == len(set(names)) > 40


@pytest.mark.parametrize("entry", ["main", "page"])
def test_the_script_makes_no_markup_of_text_and_loads_nothing(entry):
    code = bundle.script(entry)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in code
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "https://", "importScripts"):
        assert word not in code
    assert set(re.findall(r"http://[^\"]*", code)) == {"http://www.w3.org/2000/svg"}


def test_shown_numbers_are_those_of_the_payload(trace):
    w = weights(trace)
    base = map_payload(trace, 1, 2).base
    assert base is not None
    value = float(SignificantDigits().decode(base.codes)[20, 3])
    assert float(as_shown(float(w[20, 3]))) == pytest.approx(value, rel=1e-12)


class CountingMemo(dict):
    """Caches everything and counts what it computed."""

    computed = 0

    def __call__(self, key, make):
        if key not in self:
            self.computed += 1
            self[key] = make()
        return self[key]


def test_a_memo_computes_each_value_once(trace):
    memo = CountingMemo()
    half = Viewport((0, N // 2), (0, N // 2))

    def look(layer: int, head: int) -> list[bytes]:
        at = {"focus": ("row", 3), "memo": memo}
        return [
            payload.encode()
            for payload in (
                map_payload(trace, layer, head, half, size=8, **at),
                map_payload(trace, layer, head, size=8, quantity="scores", **at),
                lines_payload(trace, layer, [head], token=("row", 3), memo=memo),
                strip_payload(trace, layer, head, focus=TokenRef("row", 3), memo=memo),
            )
        ]

    first = look(1, 2)
    n = memo.computed
    assert n == 6  # an overview, a tile of it, an overview of scores, lines, two for the strip
    assert look(1, 2) == first
    assert memo.computed == n
    assert look(1, 3) != first
    assert memo.computed == 2 * n
    assert (
        map_payload(trace, 1, 2, half, size=8).encode()
        == map_payload(trace, 1, 2, half, size=8, memo=memo).encode()
    )
