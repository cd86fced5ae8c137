"""The image view's payload: the backend's weights, the processor's pixels, and what is said."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import attnviz
from attnviz.canvas import image_payload, lacks_grid, map_payload, shows_image, wire
from attnviz.canvas.codecs import MASKED, SignificantDigits
from attnviz.canvas.page_image import image_entry
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from tests.unit.trace.towers import blip

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8, "initializer_range": 0.3,
}  # fmt: skip
RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8))


def of(module: Any, processor: Any, image: Image.Image = PHOTO) -> Trace:
    return attnviz.wrap(module.eval(), processor=processor).trace(image=image)


@pytest.fixture(scope="module")
def registers() -> Trace:
    torch.manual_seed(0)
    config = hf.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=4)
    processor = BitImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 34, "width": 34}
    )
    return of(hf.Dinov2WithRegistersModel(config), processor)


def decoded(payload: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return wire.unpack(payload.encode(height=400))


def test_every_row_is_the_backends_and_every_pixel_the_processors(registers: Trace) -> None:
    header, arrays = decoded(image_payload(registers, 1, 1, 7))
    weights = registers.attention(1, 1).weights().numpy()
    shown = SignificantDigits().decode(arrays["codes"])
    np.testing.assert_allclose(shown, weights, rtol=5.0001e-4, atol=1e-7)
    assert (header["grid"], header["first"], header["patch"]) == ([4, 4], 5, [8, 8])
    assert header["query"] == 7 and header["selfAttention"]
    assert header["colNames"][:6] == ["[CLS]", *(f"[REG {i}]" for i in range(1, 5)), "patch 0,0"]
    resized = PHOTO.resize((60, 40), Image.Resampling.BICUBIC).crop((13, 3, 47, 37))
    np.testing.assert_array_equal(arrays["seen"], np.asarray(resized))
    np.testing.assert_array_equal(arrays["given"], np.asarray(PHOTO))
    assert header["size"] == [90, 60] and header["input"] == [34, 34]
    assert header["box"] == pytest.approx([13 * 1.5, 3 * 1.5, 47 * 1.5, 37 * 1.5], abs=0.75)
    words = " ".join(header["words"])
    said = re.search(r"Cropped to x (\d+) to (\d+), y (\d+) to (\d+) \(the frame\)", words)
    assert said is not None
    x0, x1, y0, y1 = map(int, said.groups())
    assert [x0, y0, x1, y1] == pytest.approx(header["box"], abs=1)
    assert "4 × 4 patches of 8 × 8 px." in words
    assert "No patch covers the last 2 px at the right and the last 2 px at the bottom." in words
    assert "not inverted" in words and "Checked" in words


def test_it_has_the_axes_of_the_other_views(registers: Trace) -> None:
    header, _ = decoded(image_payload(registers, 0, 0))
    other, _ = decoded(map_payload(registers, 0, 0))
    assert header["rowAxis"] == other["rowAxis"] and header["colAxis"] == other["colAxis"]


def test_a_browser_that_has_the_image_gets_the_weights_alone(registers: Trace) -> None:
    first = image_payload(registers, 0, 0)
    again = replace(image_payload(registers, 1, 0), have=first.picture)
    _, arrays = decoded(again)
    assert set(arrays) == {"codes"}
    _, arrays = decoded(replace(again, have="another"))
    assert set(arrays) == {"codes", "given", "seen"}


@pytest.mark.parametrize("query", [0, 9, 20])
def test_of_a_large_image_the_rows_around_the_query_are_sent(registers: Trace, query: int) -> None:
    header, arrays = decoded(image_payload(registers, 1, 0, query, max_codes=5 * 21))
    assert arrays["codes"].shape == (5, 21)
    at = query - header["firstRow"]
    assert 0 <= at < 5
    row = registers.attention(1, 0).weights()[query].numpy()
    shown = SignificantDigits().decode(arrays["codes"][at])
    np.testing.assert_allclose(shown, row, rtol=5.0001e-4, atol=1e-7)
    assert not (arrays["codes"] == MASKED).any()


def test_what_happened_to_the_file_is_said() -> None:
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    torch.manual_seed(0)
    module = hf.ViTModel(hf.ViTConfig(**SIZES))
    sixteen = Image.fromarray(RNG.integers(0, 65536, (20, 40), dtype=np.uint16))
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 128))
    for image, said in (
        (sixteen, "File: scaled to 8 bits, gray repeated as red, green and blue."),
        (sixteen, "Stretched: × 0.8 in width, × 1.6 in height."),
        (clear, "File: transparent parts put on white."),
        (PHOTO.quantize(16), "File: converted to RGB."),
        (PHOTO, "Not cropped."),
    ):
        trace = of(module, processor, image)
        header, arrays = decoded(image_payload(trace, 0, 0))
        assert said in header["words"], header["words"]
        assert arrays["seen"].shape == (32, 32, 3)


def test_padding_is_said_and_lies_beyond_the_image() -> None:
    torch.manual_seed(0)
    processor = BitImageProcessorPil(do_resize=False, crop_size={"height": 32, "width": 32})
    small = Image.fromarray(RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    header, _ = decoded(
        image_payload(of(hf.ViTModel(hf.ViTConfig(**SIZES)), processor, small), 0, 0)
    )
    assert header["box"] == [0, -4, 32, 28]
    assert "Padded by 4 px at the top, 4 px at the bottom." in header["words"]


def test_without_an_image_or_a_grid_it_says_why(registers: Trace) -> None:
    torch.manual_seed(0)
    swin = of(
        hf.SwinModel(
            hf.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1], num_heads=[2],
                          window_size=4)
        ),
        ViTImageProcessorPil(size={"height": 32, "width": 32}),
    )  # fmt: skip
    assert shows_image(registers, 0) and not lacks_grid(registers, 0)
    assert not shows_image(swin, 0)
    assert "works on 4 windows of the image" in lacks_grid(swin, 0)
    with pytest.raises(AttnVizError, match="4 windows"):
        image_payload(swin, 0, 0)
    module = hf.GPT2LMHeadModel(hf.GPT2Config(n_layer=1, n_embd=16, n_head=2)).eval()
    text = attnviz.wrap(module).trace(inputs={"input_ids": torch.arange(4)[None]})
    assert not shows_image(text, 0) and lacks_grid(text, 0) == ""
    with pytest.raises(AttnVizError, match="not of one image"):
        image_payload(text, 0, 0)


def test_text_that_attends_to_an_image_has_its_own_rows() -> None:
    module, given = blip()
    given = {name: tensor[:1] for name, tensor in given.items()}
    given["input_ids"] = given["input_ids"][:, :9]
    trace = attnviz.wrap(module).trace(inputs=given)
    cross = next(layer for layer in trace.layers if layer.kind == "cross")
    header, arrays = decoded(image_payload(trace, cross.index, 0, 1))
    assert not header["selfAttention"] and header["size"] == [0, 0]
    assert len(header["rowNames"]) == cross.n_q != len(header["colNames"])
    assert "given" not in arrays and "Only tensors were given" in header["words"][0]


def test_a_page_draws_the_image_as_the_model_got_it(registers: Trace) -> None:
    names = tuple(token.text for token in registers.tokens)
    entry = image_entry([names], None, registers.image)
    assert entry is not None and registers.image is not None
    data = base64.b64decode(entry["picture"].split(",")[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), registers.image.seen)
    assert entry["covers"] == pytest.approx((32 / 34, 32 / 34))
    assert entry["first"] == 5 and entry["grid"] == [4, 4]
