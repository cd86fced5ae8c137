"""Predictions by task: the next token, a masked one, a class, a label."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer
from tokenizers import models as token_models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import attnviz
from attnviz import AttnVizError
from attnviz.trace import Trace
from tests.unit.trace import models
from tests.unit.trace.towers import drawn, ids, pixels

MASK = 5
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64,
    "vocab_size": 99,
}  # fmt: skip
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 1, "n_head": 4, "vocab_size": 99, "pad_token_id": 0}
BART: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 99,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"[MASK]" if i == MASK else f"w{i}": i for i in range(99)}
    raw = Tokenizer(token_models.WordLevel(words, unk_token="w3"))
    return PreTrainedTokenizerFast(tokenizer_object=raw, mask_token="[MASK]", unk_token="w3")


def traced(module: PreTrainedModel, given: dict[str, Any], **more: Any) -> Trace:
    return attnviz.wrap(module, tokenizer=tokenizer()).trace(inputs=given, **more)


def likeliest(row: torch.Tensor) -> int:
    return int(row.argmax())


def masked(*places: int) -> dict[str, torch.Tensor]:
    text = ids(2, 9)
    text[0, list(places)] = MASK
    return {"input_ids": text}


def plain(module: PreTrainedModel, given: dict[str, Any]) -> Any:
    with torch.no_grad():
        return module(**given)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZES)), id="bert"),
        pytest.param(
            lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**SIZES, pad_token_id=1)), id="roberta"
        ),
        pytest.param(lambda: hf.BertForPreTraining(hf.BertConfig(**SIZES)), id="pretraining"),
    ],
)
def test_a_masked_model_fills_its_mask(module: Any) -> None:
    module, given = drawn(module()), masked(3, 6)
    out = plain(module, given)
    logits = out.get("logits", out.get("prediction_logits"))[0]
    trace = traced(module, given)
    assert trace.task == "fill"
    assert trace.predictions()[0].id == likeliest(logits[3])
    assert trace.predictions(6)[0].id == likeliest(logits[6])
    assert trace.predictions(0)[0].token == f"w{likeliest(logits[0])}"


def test_an_encoder_decoder_continues_its_target_whatever_is_masked_in_the_source() -> None:
    module = drawn(hf.BartForConditionalGeneration(hf.BartConfig(**BART)))
    given = {**masked(1), "decoder_input_ids": ids(2, 4, seed=1)}
    logits = plain(module, given).logits[0]
    chances = logits.softmax(-1)
    assert float(chances[1].max()) != pytest.approx(float(chances[-1].max()))
    trace = traced(module, given)
    assert trace.task == "next"
    assert trace.predictions()[0].probability == pytest.approx(float(chances[-1].max()))
    assert trace.predictions(2)[0].probability == pytest.approx(float(chances[2].max()))
    with pytest.raises(AttnVizError, match="position 7"):  # in the source
        trace.predictions(7)


def test_a_causal_model_continues_its_text_though_it_has_a_mask_token() -> None:
    module, given = models.build("gpt2"), masked(2)
    logits = plain(module, given).logits[0]
    short, whole = traced(module, given), traced(module, given, keep=("qkv", "logits"))
    assert short.task == whole.task == "next"
    for trace in (short, whole):
        for position in (None, -1, 8):
            assert trace.predictions(position)[0].id == likeliest(logits[-1])
    assert whole.predictions(0)[0].id == likeliest(logits[0])
    for position in (0, 2):
        with pytest.raises(AttnVizError, match="not kept"):
            short.predictions(position)


NAMES = {0: "bad", 1: "good", 2: "odd"}


@pytest.mark.parametrize(
    ("build", "given"),
    [
        (
            lambda: hf.BertForSequenceClassification(hf.BertConfig(**SIZES, id2label=NAMES)),
            ids(2, 9),
        ),
        (lambda: hf.GPT2ForSequenceClassification(hf.GPT2Config(**GPT, id2label=NAMES)), ids(2, 9)),
        (lambda: hf.BartForSequenceClassification(hf.BartConfig(**BART, id2label=NAMES)), None),
    ],
    ids=["bert", "gpt2", "bart"],
)
def test_a_classifier_names_its_classes(build: Any, given: Any) -> None:
    module = drawn(build())
    if given is None:
        given = ids(2, 9)
        given[:, -1] = 2  # BART reads the class at the end of the text
    logits = plain(module, {"input_ids": given}).logits[0]
    trace = traced(module, {"input_ids": given})
    assert trace.task == "class"
    best = trace.predictions()
    assert best[0].token == NAMES[likeliest(logits)]
    assert sum(p.probability for p in best) == pytest.approx(1)


@pytest.mark.parametrize(
    "build",
    [
        lambda: hf.BertForTokenClassification(hf.BertConfig(**SIZES, id2label=NAMES)),
        lambda: hf.GPT2ForTokenClassification(hf.GPT2Config(**GPT, id2label=NAMES)),
    ],
    ids=["bert", "gpt2"],
)
def test_a_tagger_labels_each_token(build: Any) -> None:
    module, given = drawn(build()), {"input_ids": ids(2, 9)}
    logits = plain(module, given).logits[0]
    trace = traced(module, given)
    assert trace.task == "label"
    for position in range(9):
        assert trace.predictions(position)[0].token == NAMES[likeliest(logits[position])]
    with pytest.raises(AttnVizError, match="Pass a position"):
        trace.predictions()


def test_multi_label_classes_have_independent_probabilities() -> None:
    config = hf.BertConfig(**SIZES, id2label=NAMES, problem_type="multi_label_classification")
    module, given = drawn(hf.BertForSequenceClassification(config)), {"input_ids": ids(1, 9)}
    truth = plain(module, given).logits[0].sigmoid()
    for p in traced(module, given).predictions():
        assert p.probability == pytest.approx(float(truth[p.id]))


def test_a_regression_gives_a_number_and_no_class() -> None:
    module = drawn(hf.BertForSequenceClassification(hf.BertConfig(**SIZES, num_labels=1)))
    given = {"input_ids": ids(1, 9)}
    trace = traced(module, given)
    assert trace.task == "value"
    with pytest.raises(AttnVizError, match=f"{float(plain(module, given).logits):.4g}"):
        trace.predictions()


@pytest.mark.parametrize(
    ("build", "given", "says"),
    [
        (
            lambda: hf.BertForQuestionAnswering(hf.BertConfig(**SIZES)),
            None,
            "where an answer starts",
        ),
        (lambda: hf.BertModel(hf.BertConfig(**SIZES)), None, "no language-model head"),
        # (B, n) and as many tokens as classes: whether each was replaced
        (lambda: hf.ElectraForPreTraining(hf.ElectraConfig(**SIZES)), ids(2, 2), "neither tokens"),
        (
            lambda: hf.YolosForObjectDetection(
                hf.YolosConfig(**SIZES, image_size=(32, 32), patch_size=8)
            ),
            pixels(2, 3, 32, 32),
            "neither tokens",
        ),
    ],
    ids=["answers", "no head", "replaced", "boxes"],
)
def test_models_that_predict_no_token_raise(build: Any, given: Any, says: str) -> None:
    module = drawn(build())
    given = ids(2, 9) if given is None else given
    name = "pixel_values" if given.ndim == 4 else "input_ids"
    trace = traced(module, {name: given})
    assert trace.task == "none"
    with pytest.raises(AttnVizError, match=says):
        trace.predictions()
