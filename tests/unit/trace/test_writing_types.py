"""What every type that writes does, held against transformers' own logits, token by token."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel

import attnviz
from attnviz import AttnVizError
from tests.tiny_models import TYPES, TinyType, build

N = 4  # tokens written
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
# These read a text otherwise with their cache than without, and their passes don't add up.
REFUSED = {
    "prophetnet/ProphetNetForCausalLM",
    "prophetnet/ProphetNetForConditionalGeneration",
    "xlnet/XLNetLMHeadModel",
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """One thread, as threads cost more than they give at this size; and no advice in the log."""
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
    """The model, with a cache and without an end."""
    module.generation_config.eos_token_id = None
    module.generation_config.forced_eos_token_id = None
    module.generation_config.use_cache = True
    return module


def first_item(module: PreTrainedModel, inputs: dict[str, Any]) -> dict[str, Any]:
    n = inputs["input_ids"].shape[1] if module.config.is_encoder_decoder else 7
    given = {k: v[:1] for k, v in inputs.items() if not k.startswith("decoder")}
    ids = given["input_ids"].shape
    if any(k in given for k in ("input_features", "pixel_values")):
        return given  # placeholders in the text stand for them
    return {k: v[:, :n] if v.shape == ids else v for k, v in given.items()}


def assert_true_to_transformers(module: PreTrainedModel, given: dict[str, Any]) -> None:
    """The text, a row for each token, and each prediction, as transformers' generate has them."""
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
    given = {**given, "input_ids": torch.tensor([text])} if extra else dict(given)
    if not extra:
        given["decoder_input_ids"] = torch.tensor([text])
    for k, v in given.items():
        if extra and v.ndim == 2 and k != "input_ids" and v.shape[1] == written.start:
            given[k] = torch.cat([v, v[:, -1:].expand(-1, len(text) - v.shape[1])], dim=1)
    at_once = model.trace(inputs=given, keep=keep)
    assert [(x.kind, x.n_q, x.n_k) for x in at_once.layers] == [
        (x.kind, x.n_q, x.n_k) for x in trace.layers
    ]
    assert at_once.logits is not None and at_once.logits.shape == trace.logits.shape
    if torch.allclose(at_once.logits, trace.logits, rtol=1e-5, atol=1e-4):
        # (where not, transformers' cache or positions make another text of it: RoBERTa, Doge)
        for layer in shown:
            for head in range(layer.n_heads):
                mine = trace.attention(layer.index, head).weights()
                theirs = at_once.attention(layer.index, head).weights()
                # one token at a time rounds otherwise than all at once, layer upon layer
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tiny", WRITING, ids=lambda tiny: tiny.name)
def test_a_type_writes_as_transformers_does(tiny: TinyType) -> None:
    module, inputs = build(tiny)
    given = first_item(endless(module), inputs)
    if tiny.name in REFUSED:
        with pytest.raises(AttnVizError, match="otherwise than as a whole"):
            attnviz.wrap(module).generate(inputs=given, max_new_tokens=N)
    else:
        assert_true_to_transformers(module, given)
