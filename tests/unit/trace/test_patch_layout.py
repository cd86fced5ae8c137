"""Which token is which patch: what the model's structure says, and what changed pixels say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from torch import Tensor
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import attnviz
from attnviz.trace.image_input import LONGEST_SIDE
from attnviz.trace.model import Model
from attnviz.trace.patch_layout import answering_patches
from attnviz.trace.trace import Trace

SIDE, PATCH = 30, 8  # 3 x 3 patches; 6 pixels at the right and the bottom are in none
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip
PROCESSOR = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def build(name: str) -> Model:
    torch.manual_seed(0)
    module: Any = {
        "vit": lambda: hf.ViTModel(hf.ViTConfig(**SIZES)),
        "deit": lambda: hf.DeiTModel(hf.DeiTConfig(**SIZES)),
        "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**SIZES)),
        "dinov2 with registers": lambda: hf.Dinov2WithRegistersModel(
            hf.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=4)
        ),
        "dinov3": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**SIZES, num_register_tokens=2)),
        "beit": lambda: hf.BeitModel(hf.BeitConfig(**SIZES)),
        "siglip": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**SIZES)),
        "clip": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**SIZES)),
        "yolos": lambda: hf.YolosModel(
            hf.YolosConfig(**{**SIZES, "image_size": [SIDE, SIDE]}, num_detection_tokens=3)
        ),
    }[name]()
    return attnviz.wrap(module.eval(), processor=PROCESSOR)


BEFORE = {
    "vit": ["[CLS]"],
    "deit": ["[CLS]", "[DIST]"],
    "dinov2": ["[CLS]"],
    "dinov2 with registers": ["[CLS]", "[REG 1]", "[REG 2]", "[REG 3]", "[REG 4]"],
    "dinov3": ["[CLS]", "[REG 1]", "[REG 2]"],
    "beit": ["[CLS]"],
    "siglip": [],
    "clip": ["[CLS]"],
    "yolos": ["[CLS]"],
}


def embedding(model: Model, pixels: Tensor) -> Tensor:
    return model.trace(inputs={"pixel_values": pixels}, keep=("qkv", "residual")).residual(0)


@pytest.mark.parametrize("name", BEFORE)
def test_changing_one_patch_changes_its_token_alone(name: str) -> None:
    model = build(name)
    trace = model.trace(image=PICTURE)
    assert trace.image is not None
    layout = trace.image.layout
    assert layout is not None and layout.checked
    assert (layout.grid, layout.first, layout.patch) == ((3, 3), len(BEFORE[name]), (PATCH, PATCH))
    assert [t.text for t in trace.tokens][: layout.first] == BEFORE[name]
    # once more, patch by patch, through the whole model
    pixels = torch.from_numpy(trace.image.pixels)[None]
    plain = embedding(model, pixels)
    for p, token in ((p, layout.first + p) for p in range(9)):
        row, column = divmod(p, 3)
        assert trace.tokens[token].text == f"patch {row},{column}"
        changed = pixels.clone()
        changed[..., row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] += (
            torch.randn(PATCH, PATCH)
        )
        moved = (embedding(model, changed) - plain).abs().amax(dim=-1)
        assert moved[token] > 1e-3
        moved[token] = 0
        assert float(moved.max()) < 1e-5


def test_a_model_that_moves_its_patches_has_no_layout() -> None:
    class Turned(hf.models.vit.modeling_vit.ViTEmbeddings):
        """Columns before rows, which no configuration tells."""

        def forward(self, *given: Any, **named: Any) -> Tensor:
            made = super().forward(*given, **named)
            n, (first, patches) = made.shape[0], made.split([1, 9], dim=1)
            patches = patches.view(n, 3, 3, -1).transpose(1, 2).reshape(n, 9, -1)
            return torch.cat([first, patches], dim=1)

    model = build("vit")
    turned = Turned(model.module.config)
    turned.load_state_dict(model.module.embeddings.state_dict())
    model.module.embeddings = turned.eval()
    trace = model.trace(image=PICTURE)
    assert trace.image is not None and trace.image.layout is None


def test_without_a_check_the_structure_is_taken_and_says_so() -> None:
    model = build("vit")
    model.module.train()  # dropout would change every token
    trace = model.trace(image=PICTURE)
    assert trace.image is not None and trace.image.layout is not None
    assert not trace.image.layout.checked
    pixels = torch.from_numpy(trace.image.pixels)[None]
    assert answering_patches(model.module, pixels, trace.image.layout, 10) is None


@pytest.mark.parametrize("name", ["swin", "mae"])
def test_windows_and_dropped_patches_are_no_layout(name: str) -> None:
    module: Any = (
        hf.SwinModel(
            hf.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[2], num_heads=[2],
                          window_size=4)
        )
        if name == "swin"
        else hf.ViTMAEModel(hf.ViTMAEConfig(**{**SIZES, "image_size": 32}))
    )  # fmt: skip
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    trace = attnviz.wrap(module.eval(), processor=processor).trace(image=PICTURE)
    assert trace.image is not None and trace.image.layout is None


def of_dinov2(image: Image.Image) -> Trace:
    model = build("dinov2 with registers")
    processor = BitImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": SIDE, "width": SIDE}
    )
    return attnviz.wrap(model.module, processor=processor).trace(image=image)


def test_the_input_is_the_processors_pixels_and_the_image_is_upright() -> None:
    photo = Image.fromarray(RNG.integers(0, 256, (300, 700, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side: to be turned clockwise
    photo.info["exif"] = exif.tobytes()
    image = of_dinov2(photo).image
    assert image is not None and image.geometry is not None and image.given is not None
    assert image.size == (300, 700)
    assert image.given.shape == (LONGEST_SIDE, round(300 * LONGEST_SIDE / 700), 3)
    assert image.changes == ("turned upright as its EXIF orientation says",)
    upright = photo.rotate(-90, expand=True).resize((40, 93), Image.Resampling.BICUBIC)
    top = (93 - SIDE) // 2
    expected = upright.crop((5, top, 35, top + SIDE))
    np.testing.assert_array_equal(image.seen, np.asarray(expected))
    assert image.geometry.box == pytest.approx(
        (5 * 7.5, top * 700 / 93, 35 * 7.5, (top + SIDE) * 700 / 93), abs=3
    )


def test_a_processor_that_crops_by_what_it_sees_has_no_geometry() -> None:
    class Trims:
        """Cuts off the dark border, as Nougat's does."""

        def __call__(self, images: list[Image.Image], return_tensors: str) -> dict[str, Any]:
            box = images[0].convert("L").point(lambda v: 255 * (v > 200)).getbbox()
            return PROCESSOR(images=[images[0].crop(box)], return_tensors=return_tensors)  # type: ignore[no-any-return]

    dark = Image.new("RGB", (80, 80), (20, 20, 20))
    dark.paste(Image.new("RGB", (20, 20), "white"), (50, 50))
    dark.putpixel((52, 52), (0, 0, 0))
    image = attnviz.wrap(build("vit").module, processor=Trims()).trace(image=dark).image
    assert image is not None and image.geometry is None
    assert image.seen.shape == (SIDE, SIDE, 3)


def test_tensors_alone_are_shown_from_their_lowest_to_their_highest() -> None:
    pixels = torch.linspace(-3, 5, 3 * SIDE * SIDE).view(1, 3, SIDE, SIDE)
    image = build("vit").trace(inputs={"pixel_values": pixels}).image
    assert image is not None and image.given is None and image.geometry is None
    assert (image.seen.min(), image.seen.max()) == (0, 255)
    np.testing.assert_array_equal(image.pixels, pixels[0].numpy())
