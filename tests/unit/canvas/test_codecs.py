"""16-bit codes keep exactly the digits that are shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz.canvas import wire
from attnviz.canvas.codecs import MASKED, TINY, FixedPoint, SignificantDigits, as_shown, codec_of

weights = st.floats(0, 1, width=32)


def text_of(code: int) -> str:
    """What the browser writes for a code, as numbers.js does it."""
    value = float(SignificantDigits().decode(np.array([code], np.uint16))[0])
    if code in (0, TINY):
        return "0" if code == 0 else "< 1e-7"
    exponent = (code - 2) // 9000 - 7
    if exponent >= -3:
        return f"{value:.{3 - exponent}f}"
    return f"{(1000 + (code - 2) % 9000) / 1000:.3f}e{exponent}"


@given(weights)
def test_a_weight_is_shown_as_the_backend_would_print_it(weight):
    code = int(SignificantDigits().encode(np.array([weight], np.float32))[0])
    assert text_of(code) == as_shown(weight)


@pytest.mark.parametrize(
    "weight",
    [0.0, 1.0, 0.1, 0.01, 0.99995, 0.099995, 0.0099995, 1e-7, 9.9994e-8, 9.9996e-8, 1 / 128, 1 / 3]
    + [10.0**-e * (1 + s * 1e-7) for e in range(8) for s in (-1, 1)],
)
def test_rounding_at_powers_of_ten(weight):
    weight = float(np.float32(weight))
    assert text_of(int(SignificantDigits().encode(np.array([weight]))[0])) == as_shown(weight)


@given(st.lists(weights, min_size=2, max_size=30))
def test_codes_increase_with_the_weights(values):
    """So the code of a maximum is the maximum of the codes, and a color scale is a table."""
    numbers = np.sort(np.array(values, np.float32))
    codes = SignificantDigits().encode(numbers).astype(int)
    assert (np.diff(codes) >= 0).all()
    assert codes.max() < MASKED


def test_masked_differs_from_zero():
    codes = SignificantDigits().encode(np.array([0.0, 0.5, 0.0]), np.array([False, False, True]))
    assert codes.tolist() == [0, codes[1], MASKED]
    assert np.isnan(SignificantDigits().decode(codes)[2])


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30))
def test_a_score_is_shown_to_its_last_digit(values):
    scores = np.array([*values, -np.inf], np.float32)
    codec = FixedPoint.over(scores)
    codes = codec.encode(scores)
    assert codes[-1] == MASKED
    shown = codec_of(json.loads(json.dumps(codec.header()))).decode(codes)[:-1]
    assert np.abs(shown - scores[:-1]).max() <= 0.50001 * 10.0**-codec.decimals
    assert (scores[:-1].max() - scores[:-1].min()) / 65_535 <= 10.0**-codec.decimals


def test_a_message_round_trips():
    header = {"mode": "map", "tokens": ["中文", "👩‍🚀", "<b>", "שלום", "\ud800"], "none": None}
    arrays = {
        "a": np.arange(7, dtype=np.uint8),
        "b": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "c": np.array([1.5, -np.inf], np.float32),
        "d": np.zeros((0, 4), np.uint32),
    }
    message = wire.pack(header, arrays)
    got, found = wire.unpack(message)
    assert got["tokens"][:4] == header["tokens"][:4] and got["none"] is None
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_numpy_scalar_in_a_header_is_an_error():
    """Streamlit would turn the whole message into a string without a word."""
    with pytest.raises(TypeError):
        wire.pack({"layer": np.int64(3)}, {})
    with pytest.raises(TypeError, match="float64"):
        wire.pack({}, {"a": np.zeros(3)})
