"""Every type that generates, compared with transformers' own logits, token by token."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import attnviz
from attnviz import AttnVizError
from tests.tiny_models import TYPES, TinyType, build
from tests.tiny_models.configs import tiny_config
from tests.tiny_models.weights import draw_weights

N = 4  # tokens generated
# What transformers' own generate can't do with these inputs or sizes, with a cache or at all.
CANNOT = {
    "blt/BltForCausalLM",
    "encoder-decoder/EncoderDecoderModel",
    "longt5/LongT5ForConditionalGeneration",
    "musicgen/MusicgenForCausalLM",
    "musicgen_melody/MusicgenMelodyForCausalLM",
    "reformer/ReformerModelWithLMHead",
    "switch_transformers/SwitchTransformersForConditionalGeneration",
    "t5/T5ForConditionalGeneration",  # no start token; mt5 and umt5 have one
    "voxtral_realtime/VoxtralRealtimeForConditionalGeneration",
    "xlstm/xLSTMForCausalLM",
}
# These read a text differently with their cache, and their passes don't add up.
REFUSED = {
    "prophetnet/ProphetNetForCausalLM",
    "prophetnet/ProphetNetForConditionalGeneration",
    "xlnet/XLNetLMHeadModel",
}


def text(image_tokens: int) -> dict[str, torch.Tensor]:
    """Seven words, after the placeholders of an image."""
    words = torch.randint(6, 50, (1, 7), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([torch.full((1, image_tokens), PLACE), words], dim=1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def image(*shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


PLACE = 70  # the placeholder token of an image
IMAGE = image(3, 32, 32)
ROTATION = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
# Models that read images and text: a type's overrides, and its inputs.
PICTURES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": (
        "Qwen2VLForConditionalGeneration",
        {"text_config": {"rope_parameters": ROTATION}},
        text(0),
    ),
    "qwen2_5_vl": (
        "Qwen2_5_VLForConditionalGeneration",
        {"text_config": {"rope_parameters": ROTATION}},
        text(0),
    ),
    "qwen3_vl": ("Qwen3VLForConditionalGeneration", {}, text(0)),
    "qwen3_5": ("Qwen3_5ForConditionalGeneration", {}, text(0)),
    "git": ("GitForCausalLM", {}, {**text(0), "pixel_values": IMAGE}),
    "blip": ("BlipForConditionalGeneration", {}, {**text(0), "pixel_values": IMAGE}),
    "blip-2": (
        "Blip2ForConditionalGeneration",
        {"image_token_index": PLACE, "num_query_tokens": 4},
        {**text(4), "pixel_values": IMAGE},
    ),
    "instructblip": (
        "InstructBlipForConditionalGeneration",
        {"image_token_index": PLACE, "num_query_tokens": 4},
        {**text(4), "pixel_values": IMAGE, "qformer_input_ids": text(0)["input_ids"]},
    ),
    "kosmos-2": (
        "Kosmos2ForConditionalGeneration",
        {"latent_query_num": 4},
        {
            **text(4),
            "pixel_values": IMAGE,
            "image_embeds_position_mask": (text(4)["input_ids"] == PLACE).long(),
        },
    ),
    "mllama": (
        "MllamaForConditionalGeneration",
        {
            "image_token_index": PLACE,
            "text_config": {"num_hidden_layers": 3, "cross_attention_layers": [1]},
            "vision_config": {
                "max_num_tiles": 1,
                "supported_aspect_ratios": [[1, 1]],
                "intermediate_layers_indices": [0],
                "vision_output_dim": 64,
            },
        },
        {
            **text(1),
            "pixel_values": image(1, 1, 3, 32, 32),
            "aspect_ratio_ids": torch.ones(1, 1, dtype=torch.long),
            "aspect_ratio_mask": torch.ones(1, 1, 1, dtype=torch.long),
            "cross_attention_mask": torch.ones(1, 8, 1, 1, dtype=torch.long),
        },
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """One thread, which is faster at this size; and no advice in the log."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    torch.set_num_threads(threads)


def writes(tiny: TinyType) -> bool:
    kind = getattr(transformers, tiny.class_name)
    return tiny.task in ("causal-lm", "seq2seq-lm") and kind.can_generate()


WRITING = [tiny for tiny in TYPES if writes(tiny) and tiny.name not in CANNOT]


def endless(module: PreTrainedModel) -> PreTrainedModel:
    """The model, with a cache and without an end token."""
    for part in module.modules():
        config = getattr(part, "generation_config", None)
        if config is not None:
            config.update(eos_token_id=None, forced_eos_token_id=None, use_cache=True)
    return module


def first_item(module: PreTrainedModel, inputs: dict[str, Any]) -> dict[str, Any]:
    n = inputs["input_ids"].shape[1] if module.config.is_encoder_decoder else 7
    given = {k: v[:1] for k, v in inputs.items() if not k.startswith("decoder")}
    ids = given["input_ids"].shape
    if any(k in given for k in ("input_features", "pixel_values")):
        return given  # placeholders in the text stand for them
    return {k: v[:, :n] if v.shape == ids else v for k, v in given.items()}


def assert_true_to_transformers(module: PreTrainedModel, given: dict[str, Any]) -> None:
    """Text, a row for each token, and each prediction equal those of transformers' generate."""
    extra = 0 if module.config.is_encoder_decoder else 1  # a decoder's last token is read as well
    with torch.no_grad():
        plain = module.generate(
            **{k: v.clone() for k, v in given.items()},
            max_new_tokens=N + extra,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
    model = attnviz.wrap(module)
    keep = ("qkv", "residual", "logits")
    written = model.generate(inputs=given, max_new_tokens=N, keep=keep)
    trace = written.trace
    text = [t.id for t in trace.target_tokens or trace.tokens]
    ids = [t.id for t in written.tokens]
    assert len(ids) == N
    assert plain.sequences[0].tolist()[: written.start + N][-N:] == ids
    assert text[written.start :][: len(ids) - 1 + extra] == ids[: N - 1 + extra]
    assert trace.logits is not None
    truth = torch.stack([row[0] for row in plain.logits])
    one_row = len(text) - written.start - (N - 1 + extra)  # XLM puts a mask after the text
    if one_row or len(trace.logits) < len(truth):
        truth = truth[-1:]
    # the same kernels on the same cache; a mask may be given as zeros here and left out there
    torch.testing.assert_close(trace.logits[-len(truth) :], truth, rtol=1e-4, atol=1e-4)
    receipts = trace.fidelity()
    shown = [x for x in trace.layers if x.source != "refused"]
    assert all(receipts[x.index].passed for x in shown)
    name = "input_ids" if extra else "decoder_input_ids"
    whole = {**given, name: torch.tensor([text])}
    for k, v in given.items():  # masks and the like continue as they end
        if extra and k != name and v.ndim > 1 and v.shape[1] == given[name].shape[1]:
            more = [v[:, -1:]] * (len(text) - v.shape[1])
            whole[k] = torch.cat([v, *more], dim=1)
    at_once = model.trace(inputs=whole, keep=keep)
    assert [(x.kind, x.n_q, x.n_k) for x in at_once.layers] == [
        (x.kind, x.n_q, x.n_k) for x in trace.layers
    ]
    assert at_once.logits is not None and at_once.logits.shape == trace.logits.shape
    if torch.allclose(at_once.logits, trace.logits, rtol=1e-5, atol=1e-4):
        # (otherwise transformers' cache or positions change the text: RoBERTa, Doge)
        for layer in shown:
            for head in range(layer.n_heads):
                mine = trace.attention(layer.index, head).weights()
                theirs = at_once.attention(layer.index, head).weights()
                # one token at a time rounds differently, and more with each layer
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tiny", WRITING, ids=lambda tiny: tiny.name)
def test_each_type_generates_what_transformers_does(tiny: TinyType) -> None:
    module, inputs = build(tiny)
    given = first_item(endless(module), inputs)
    if tiny.name in REFUSED:
        with pytest.raises(AttnVizError, match="differently while generating"):
            attnviz.wrap(module).generate(inputs=given, max_new_tokens=N)
    else:
        assert_true_to_transformers(module, given)


@pytest.mark.parametrize("model_type", PICTURES)
def test_image_models_generate_what_transformers_does(model_type: str) -> None:
    assert_true_to_transformers(*seeing(model_type))


@pytest.mark.parametrize("model_type", sorted(set(PICTURES) - {"blip"}))
def test_image_models_can_be_continued(model_type: str) -> None:
    module, given = seeing(model_type)
    model = attnviz.wrap(module)
    at_once = model.generate(inputs=given, max_new_tokens=N)
    ids = [t.id for t in at_once.tokens]
    for n in range(1, N + 1):
        rest = model.generate(inputs=given, after=ids[:n], max_new_tokens=N - n)
        assert [t.id for t in rest.tokens] == ids
        assert rest.trace.tokens == at_once.trace.tokens and rest.start == at_once.start
        assert rest.trace.logits is not None and at_once.trace.logits is not None
        # read at once and one by one: rounding
        torch.testing.assert_close(rest.trace.logits, at_once.trace.logits, rtol=1e-3, atol=1e-3)


def test_models_that_change_their_input_cannot_be_continued() -> None:
    module, given = seeing("blip")  # it removes the last token, its tokenizer's end token
    model = attnviz.wrap(module)
    written = model.generate(inputs=given, max_new_tokens=2)
    with pytest.raises(AttnVizError, match="cannot be continued"):
        model.generate(inputs=given, after=[t.id for t in written.tokens], max_new_tokens=2)


def seeing(model_type: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A tiny model that takes images, and its inputs."""
    name, overrides, given = PICTURES[model_type]
    config = tiny_config(CONFIG_MAPPING[model_type], overrides)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = getattr(transformers, name)._from_config(config).eval()
    draw_weights(module)
    return endless(module), dict(given)
