"""Each tower has its own residual stream, (n, d_model) for any layout, and its own labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor

import attnviz
from attnviz import AttnVizError
from attnviz.analysis import matrices
from attnviz.analysis.edges import strong_edges
from attnviz.analysis.heads import head_metrics
from attnviz.canvas import map_payload
from attnviz.models.tokens import Token
from tests.unit.trace import models
from tests.unit.trace.towers import blip, clip, drawn, idefics2, ids, pixels, tiny


def hidden_states(module: Any, given: dict[str, Any]) -> Any:
    with torch.no_grad():
        return module(**given, output_hidden_states=True)


def written(tokens: tuple[Token, ...]) -> list[str]:
    return [token.text for token in tokens]


def words(row: Tensor) -> list[str]:
    """Tokens without a tokenizer are named by their ids."""
    return [str(i) for i in row.tolist()]


NUMBERS = [str(i) for i in range(64)]


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("xlnet/XLNetLMHeadModel", "decoder", "hidden_states"),  # (n, B, d)
        ("fsmt/FSMTForConditionalGeneration", "encoder", "encoder_hidden_states"),
        ("fsmt/FSMTForConditionalGeneration", "decoder", "decoder_hidden_states"),
        ("sam_vision_model/SamVisionModel", "encoder", "hidden_states"),  # (B, h, w, d)
        ("swin/SwinForImageClassification", "encoder", "hidden_states"),
        ("luke/LukeForMaskedLM", "encoder", "hidden_states"),  # words beside entities
        ("openai-gpt/OpenAIGPTLMHeadModel", "decoder", "hidden_states"),  # blocks give lists
    ],
)
def test_the_stream_is_the_models_own_hidden_states(name: str, kind: Any, part: str) -> None:
    module, given = tiny(name)
    truth = getattr(hidden_states(module, given), part)
    trace = attnviz.wrap(module).trace(inputs=given)
    assert trace.n_residuals(kind) == len(truth) > 2
    for item in range(2):
        for i in range(len(truth) - 1):  # the last may have gone through a norm
            own = truth[i][item]
            assert torch.equal(trace.residual(i, kind=kind, item=item), own.flatten(0, -2))


def test_positions_of_feature_maps_are_rows() -> None:
    module, given = tiny("vitdet/VitDetModel")  # (B, d, h, w)
    truth = hidden_states(module, given).hidden_states
    trace = attnviz.wrap(module).trace(inputs=given)
    assert torch.equal(trace.residual(1, item=1), truth[1][1].flatten(1).T)


def test_the_used_one_of_parallel_streams_is_kept() -> None:
    module, given = tiny("gemma3n_text/Gemma3nForCausalLM")  # (streams, B, n, d)
    truth = hidden_states(module, given).hidden_states
    trace = attnviz.wrap(module).trace(inputs=given)
    for i in range(2):
        own = truth[i][module.config.altup_active_idx]
        assert torch.equal(trace.residual(i, item=1), own[1])


def test_as_many_texts_as_positions_are_told_apart() -> None:
    for name in ("xlnet/XLNetLMHeadModel", "gpt2/GPT2LMHeadModel"):
        module, _ = tiny(name)
        given = {"input_ids": ids(6, 6)}
        truth = hidden_states(module, given).hidden_states
        trace = attnviz.wrap(module).trace(inputs=given)
        assert torch.equal(trace.residual(0, item=4), truth[0][4])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("deepseek_v4/DeepseekV4ForCausalLM", "several streams side by side"),
        ("prophetnet/ProphetNetForConditionalGeneration", "21 positions .* 7 queries"),
        ("cvt/CvtForImageClassification", "feature maps"),
    ],
)
def test_streams_without_positions_are_refused(name: str, says: str) -> None:
    module, given = tiny(name)
    trace = attnviz.wrap(module).trace(inputs=given)
    assert not trace.n_residuals()
    with pytest.raises(AttnVizError, match=says):
        trace.residual(0)


def test_a_generation_of_a_model_with_positions_first_has_its_rows_in_order() -> None:
    module, _ = tiny("fsmt/FSMTForConditionalGeneration")
    module.generation_config.use_cache = True
    model, given = attnviz.wrap(module), {"input_ids": ids(1, 8)}
    made = model.generate(inputs=given, max_new_tokens=4).trace
    read = torch.tensor([[t.id for t in made.target_tokens]])
    whole = model.trace(inputs={**given, "decoder_input_ids": read})
    assert made.residual(1).shape == whole.residual(1).shape == (read.shape[1], 32)
    # passes with a cache round differently from one pass
    torch.testing.assert_close(made.residual(1), whole.residual(1), rtol=0, atol=1e-4)


def test_a_resampler_is_not_part_of_the_text() -> None:
    module, given = idefics2()
    trace = attnviz.wrap(module).trace(inputs=given)
    vision, resampler, text = trace.towers
    assert [t.kind for t in trace.towers] == ["encoder", "encoder", "decoder"]
    truth = hidden_states(module, given).hidden_states
    sees = hidden_states(module.model.vision_model, {"pixel_values": given["pixel_values"][:, 0]})
    for item in range(2):
        for i in range(2):
            torch.testing.assert_close(trace.residual(i, item=item), truth[i][item])
            seen = trace.residual(i, kind="encoder", item=item)
            torch.testing.assert_close(seen, sees.hidden_states[i][item])
            assert torch.equal(seen, trace.residual(i, tower=vision.name, item=item))
    slots = trace.residual(0, tower=resampler.name)
    assert torch.equal(slots, module.model.connector.perceiver_resampler.latents)
    assert [layer.kind for layer in trace.layers] == [
        *2 * ["encoder"],
        *2 * ["cross"],
        *2 * ["decoder"],
    ]
    assert [t and t.name for t in map(trace.tower_of, (0, 2, 4))] == [
        t.name for t in (vision, resampler, text)
    ]
    with pytest.raises(AttnVizError, match="no tower nowhere"):
        trace.residual(0, tower="nowhere")


def test_patches_slots_and_tokens_are_told_apart_though_as_many() -> None:
    module, given = idefics2()
    trace = attnviz.wrap(module).trace(inputs=given)
    n = given["input_ids"].shape[1]
    assert {(x.n_q, x.n_k) for x in trace.layers if x.kind != "cross"} == {(n, n)}
    for layer in trace.layers:
        rows, cols = trace.row_tokens(layer.index), trace.col_tokens(layer.index)
        if layer.kind == "encoder":
            assert written(rows) == written(cols)
            assert written(rows)[:5] == [*(f"patch 0,{i}" for i in range(4)), "patch 1,0"]
        elif layer.kind == "cross":
            assert written(rows) == NUMBERS[:4] and written(cols) == NUMBERS[: n + 4]
        else:
            assert written(rows) == written(cols) == words(given["input_ids"][0])


def test_two_encoders_of_equal_length_have_their_own_labels() -> None:
    module, given = clip()
    trace = attnviz.wrap(module).trace(inputs=given)
    assert [layer.n_q for layer in trace.layers] == [17] * 4
    for layer in trace.layers:
        shown = written(trace.row_tokens(layer.index))
        if "vision" in layer.name:
            assert shown[:2] == ["[CLS]", "patch 0,0"]
        else:
            assert shown == words(given["input_ids"][0])


def test_text_attends_to_patches_in_cross_attention() -> None:
    module, given = blip()
    trace = attnviz.wrap(module).trace(inputs=given)
    across = [layer for layer in trace.layers if layer.kind == "cross"]
    assert len(across) == 2
    for layer in across:
        assert written(trace.row_tokens(layer.index)) == words(given["input_ids"][0])
        assert written(trace.col_tokens(layer.index))[:2] == ["[CLS]", "patch 0,0"]


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_each_item_has_its_own_tokens(name: str) -> None:
    given = models.inputs(name)
    trace = attnviz.wrap(models.build(name)).trace(inputs=given)
    for layer in trace.layers:
        for item in range(2):
            source = words(given["input_ids"][item])
            target = words(given.get("decoder_input_ids", given["input_ids"])[item])
            rows, cols = {
                "encoder": (source, source),
                "decoder": (target, target),
                "cross": (target, source),
            }[layer.kind]
            assert written(trace.row_tokens(layer.index, item)) == rows
            assert written(trace.col_tokens(layer.index, item)) == cols
    assert written(trace.tokens) == words(given["input_ids"][0])


def test_a_decoder_that_shifts_its_source_does_not_get_its_tokens() -> None:
    module, given = tiny("bart/BartForConditionalGeneration")
    del given["decoder_input_ids"]  # the model makes them of the source, moved by one
    trace = attnviz.wrap(module).trace(inputs=given)
    decoder = next(layer for layer in trace.layers if layer.kind == "decoder")
    assert written(trace.row_tokens(decoder.index)) == NUMBERS[: decoder.n_q]
    cross = next(layer for layer in trace.layers if layer.kind == "cross")
    assert written(trace.col_tokens(cross.index)) == words(given["input_ids"][0])


def test_given_encoder_states_get_no_tokens() -> None:
    config = hf.GPT2Config(
        n_embd=32, n_layer=1, n_head=4, vocab_size=99, add_cross_attention=True, is_decoder=True
    )
    given = {"input_ids": ids(1, 9), "encoder_hidden_states": pixels(1, 9, 32)}
    trace = attnviz.wrap(drawn(hf.GPT2LMHeadModel(config))).trace(inputs=given)
    cross = next(layer for layer in trace.layers if layer.kind == "cross")
    assert written(trace.row_tokens(cross.index)) == words(given["input_ids"][0])
    assert written(trace.col_tokens(cross.index)) == NUMBERS[:9]


def vision(**changes: Any) -> hf.ViTConfig:
    return hf.ViTConfig(
        **{
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "image_size": 32, "patch_size": 8, **changes,
        }
    )  # fmt: skip


def test_patches_are_those_of_the_models_grid() -> None:
    # 3 x 3 patches and a class are 10; so would a class and a row of 9 be
    config = vision(image_size=(24, 30), patch_size=(8, 10))
    trace = attnviz.wrap(drawn(hf.ViTModel(config))).trace(
        inputs={"pixel_values": pixels(2, 3, 24, 30)}
    )
    shown = written(trace.row_tokens(0, item=1))
    assert shown == ["[CLS]", *(f"patch {r},{c}" for r in range(3) for c in range(3))]
    assert written(trace.tokens) == shown


def test_positions_that_are_no_grid_are_numbered() -> None:
    module, given = tiny("vit_mae/ViTMAEModel")  # a quarter of the patches, at random
    trace = attnviz.wrap(module).trace(inputs=given)
    assert written(trace.row_tokens(0)) == NUMBERS[: trace.layers[0].n_q]
    module, given = tiny("swin/SwinForImageClassification")  # windows
    trace = attnviz.wrap(module).trace(inputs=given)
    assert trace.layers[0].n_items > 2
    for item in (0, 1):
        assert written(trace.row_tokens(0, item)) == NUMBERS[: trace.layers[0].n_q]


def test_special_tokens_of_an_image_model_are_named() -> None:
    module, given = tiny("yolos/YolosModel")
    trace = attnviz.wrap(module).trace(inputs=given)
    shown = written(trace.row_tokens(0))
    assert shown[:2] == ["[CLS]", "patch 0,0"] and shown[16:19] == [
        "patch 3,3",
        "[DET 0]",
        "[DET 1]",
    ]
    with pytest.raises(AttnVizError, match="no item 5"):
        trace.residual(0, item=5)


def test_attention_to_another_item_has_that_items_tokens() -> None:
    given = {"input_ids": torch.cat([ids(1, 6).repeat(1, 2), torch.arange(20, 32)[None]])}
    trace = attnviz.wrap(models.build("gpt2")).trace(inputs=given)
    own = [f"{i} {word}" for i, word in enumerate(words(given["input_ids"][1]))]
    for made in (
        matrices.attention(trace, 0, 1, "weights", item=1),
        matrices.vectors(trace, 0, 1, "K", item=1),
        matrices.one_query(trace, 0, 1, 3, item=1),
    ):
        assert list(made.rows) == own
    assert list(strong_edges(trace, 0, item=1).row_names) == own
    payload = map_payload(trace, 0, 1, item=1)
    assert list(payload.col_names) == words(given["input_ids"][1])
    # the first item's second half repeats its first; the second's words repeat nowhere
    assert all(m.induction is not None for m in head_metrics(trace))
    assert all(m.induction is None for m in head_metrics(trace, item=1))


def test_norms_of_a_tower_have_its_own_rows() -> None:
    module, given = idefics2()
    trace = attnviz.wrap(module).trace(inputs=given)
    for layer in trace.layers:
        made = matrices.residual_norms(trace, layer.index)
        assert made.values.shape == (layer.n_q, 3)
        named = trace.row_tokens(layer.index)
        assert list(made.rows) == [f"{i} {t.text}" for i, t in enumerate(named)]
    module, given = tiny("swin/SwinForImageClassification")
    trace = attnviz.wrap(module).trace(inputs=given)
    with pytest.raises(AttnVizError, match="positions shrinks"):
        matrices.residual_norms(trace, 0)


def test_the_decoder_of_an_image_model_gets_its_start_token() -> None:
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        vision(num_attention_heads=4),
        hf.GPT2Config(n_embd=16, n_layer=1, n_head=4, vocab_size=99, bos_token_id=1),
    )
    config.decoder_start_token_id, config.pad_token_id = 7, 0
    processor = hf.ViTImageProcessor(size={"height": 32, "width": 32})
    model = attnviz.wrap(drawn(hf.VisionEncoderDecoderModel(config)), processor=processor)
    trace = model.trace(image=Image.new("RGB", (40, 40), "teal"))
    assert written(trace.target_tokens) == ["7"] and written(trace.tokens)[1] == "patch 0,0"
    assert trace.task == "next"
    cross = next(layer for layer in trace.layers if layer.kind == "cross")
    assert written(trace.row_tokens(cross.index)) == ["7"]
    assert written(trace.col_tokens(cross.index)) == written(trace.tokens)


def test_object_queries_are_not_patches() -> None:
    config = hf.DetrConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=4,
        use_timm_backbone=False, use_pretrained_backbone=False,
        backbone_config=hf.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"]
        ),
    )  # fmt: skip
    given = {"pixel_values": pixels(1, 3, 16, 16)}  # 2 x 2 positions, and 4 queries
    trace = attnviz.wrap(drawn(hf.DetrModel(config))).trace(inputs=given)
    for layer in trace.layers:
        assert (layer.n_q, layer.n_k) == (4, 4)
        rows, cols = trace.row_tokens(layer.index), trace.col_tokens(layer.index)
        assert (written(rows) == NUMBERS[:4]) == (layer.kind != "encoder")
        assert (written(cols)[0] == "patch 0,0") == (layer.kind != "decoder")


def test_a_text_beside_an_image_is_read_or_refused() -> None:
    processor = hf.ViTImageProcessor(size={"height": 32, "width": 32})
    model = attnviz.wrap(drawn(hf.ViTModel(vision())), processor=processor)
    picture = Image.new("RGB", (40, 40), "teal")
    with pytest.raises(AttnVizError, match="cannot read text with an image"):
        model.trace("what is this", image=picture)
    with pytest.raises(AttnVizError, match="no decoder"):
        model.trace(image=picture, target="teal")
    with pytest.raises(AttnVizError, match="second segment"):
        model.trace(image=picture, pair="teal")

    words = WordLevel({"[UNK]": 0, "a": 5, "cat": 6}, unk_token="[UNK]")
    raw = Tokenizer(words)
    raw.pre_tokenizer = Whitespace()
    reader = hf.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]")
    both = hf.CLIPProcessor(hf.CLIPImageProcessor(size=32, crop_size=32), reader)
    trace = attnviz.wrap(clip()[0], reader, both).trace("a cat", image=picture)
    assert [word.strip() for word in written(trace.tokens)] == ["a", "cat"]
    assert {layer.rows for layer in trace.layers} == {"source", "image"}


def test_stages_in_lists_of_lists_have_streams() -> None:
    module, given = tiny("pvt/PvtForImageClassification")
    trace = attnviz.wrap(module).trace(inputs=given)
    assert [t.name for t in trace.towers] == ["pvt.encoder.block.0", "pvt.encoder.block.1"]
    assert trace.residual(0).shape == (64, 16)
    # its config has no patch size: the grid follows from the square of 64
    assert written(trace.row_tokens(0))[-1] == "patch 7,7"
    module, given = tiny("longcat_flash/LongcatFlashForCausalLM")
    truth = hidden_states(module, given).hidden_states
    assert torch.equal(attnviz.wrap(module).trace(inputs=given).residual(1, item=1), truth[1][1])


def test_audio_codes_are_not_text() -> None:
    module, given = tiny("musicgen/MusicgenForCausalLM")  # (B * codebooks, n) ids
    codebooks = module.config.num_codebooks
    assert len(given["input_ids"]) == 2 * codebooks
    trace = attnviz.wrap(module).trace(inputs=given)
    assert trace.layers[0].n_items == 2 and trace.tokens == ()
    truth = hidden_states(module, given).hidden_states
    assert torch.equal(trace.residual(1, item=1), truth[1][1])
    # as many positions as rows of codes: still no sequence that comes first
    given = {"input_ids": given["input_ids"][:, : 2 * codebooks]}
    truth = hidden_states(module, given).hidden_states
    assert torch.equal(attnviz.wrap(module).trace(inputs=given).residual(1, item=1), truth[1][1])


def test_each_choice_is_an_item() -> None:
    config = hf.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        vocab_size=99,
    )  # fmt: skip
    given = {"input_ids": ids(2, 3, 9)}
    trace = attnviz.wrap(drawn(hf.BertForMultipleChoice(config))).trace(inputs=given)
    assert trace.layers[0].n_items == 6
    assert written(trace.row_tokens(0, item=4)) == words(given["input_ids"][1, 1])
    assert trace.residual(0, item=4).shape == (9, 32)
    assert trace.task == "class" and len(trace.predictions()) == 3
