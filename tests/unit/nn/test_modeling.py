"""The models: saved and loaded, cached, padded, and as attention recorders see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)
from transformers.modeling_utils import AttentionInterface

from attnviz.errors import AttnVizError
from attnviz.nn import (
    AttentionConfig,
    MultiHeadAttention,
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForMaskedLM,
    TransformerForSeq2SeqLM,
    TransformerModel,
)
from attnviz.nn.attention import explicit_attention

SMALL: dict[str, Any] = {"vocab_size": 40, "d_model": 24, "n_heads": 6, "n_layers": 2}
SEQ2SEQ: dict[str, Any] = SMALL | {
    "architecture": "encoder-decoder",
    "decoder_start_token_id": 1,
    "pad_token_id": 0,
}
IDS = torch.randint(3, 40, (2, 7), generator=torch.Generator().manual_seed(0))
GENERATION: dict[str, Any] = {
    "max_new_tokens": 9,
    "do_sample": False,
    "eos_token_id": None,
    "no_repeat_ngram_size": 2,  # untrained models otherwise soon repeat one token
}

# Large tables make the tiny models' choices clear, so that equal texts mean equal logits.
variants = st.fixed_dictionaries(
    {
        "n_kv_heads": st.sampled_from((1, 2, 6)),
        "positions": st.sampled_from(("none", "sinusoidal", "learned", "rope", "alibi", "t5")),
        "norm": st.sampled_from(("pre", "post")),
        "norm_kind": st.sampled_from(("layer", "rms")),
        "qk_norm": st.booleans(),
        "softcap": st.sampled_from((None, 3.0)),
        "sink": st.booleans(),
        "feed_forward": st.booleans(),
        "window": st.just(3),
        "prefix": st.just(3),
        "initializer_range": st.just(1.0),
    }
)


def decoder(**options: Any) -> TransformerForCausalLM:
    return TransformerForCausalLM(TransformerConfig(**(SMALL | options))).eval()


def seq2seq(**options: Any) -> TransformerForSeq2SeqLM:
    return TransformerForSeq2SeqLM(TransformerConfig(**(SEQ2SEQ | options))).eval()


@hypothesis_settings(max_examples=40)
@given(
    options=variants,
    mask=st.sampled_from(("causal", "sliding", "prefix")),
    filler=st.sampled_from((0, 2)),
)
def test_a_cache_changes_nothing(options: dict[str, Any], mask: str, filler: int) -> None:
    model = decoder(mask=mask, **options)
    padded = torch.ones_like(IDS)
    padded[0, :filler] = 0
    with torch.no_grad():
        whole = model(IDS, attention_mask=padded).logits
        begun = model(IDS[:, :-2], attention_mask=padded[:, :-2], use_cache=True)
        cache = begun.past_key_values
        together = model(IDS[:, -2:], attention_mask=padded, past_key_values=cache).logits
    real = padded.bool()[:, -2:]
    torch.testing.assert_close(together[real], whole[:, -2:][real], rtol=0, atol=2e-5)
    assert len(cache.layers) == 2
    assert cache.layers[0].keys.shape == (2, options["n_kv_heads"], 7, 4)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("mask", ["none", "causal", "sliding", "prefix"])
def test_it_generates_the_same_with_and_without_cache(mask: str, implementation: str) -> None:
    model = decoder(
        mask=mask, prefix=3, positions="rope", n_kv_heads=2, initializer_range=1.0,
        attn_implementation=implementation,
    )  # fmt: skip
    cached = model.generate(IDS, pad_token_id=0, **GENERATION)
    plain = model.generate(IDS, pad_token_id=0, use_cache=False, **GENERATION)
    assert cached.shape == (2, 16)
    assert torch.equal(cached, plain)
    assert len(set(plain[:, 7:].flatten().tolist())) > 3


def test_a_mask_that_looks_ahead_refuses_a_cache() -> None:
    model = decoder(mask="prefix", prefix=5)
    begun = model(IDS[:, :3], use_cache=True)
    with pytest.raises(AttnVizError, match="use_cache=False"):
        model(IDS[:, 3:], past_key_values=begun.past_key_values)
    padded = torch.ones_like(IDS)
    padded[1, :2] = 0  # leaves four real tokens of the second text
    begun = model(IDS[:, :6], attention_mask=padded[:, :6], use_cache=True)
    with pytest.raises(AttnVizError, match="use_cache=False"):
        model(IDS[:, 6:], attention_mask=padded, past_key_values=begun.past_key_values)


@hypothesis_settings(max_examples=30)
@given(options=variants, data=st.data())
def test_padding_on_either_side_changes_nothing(
    options: dict[str, Any], data: st.DataObject
) -> None:
    mask = data.draw(st.sampled_from(("none", "causal", "sliding", "prefix")))
    model = decoder(mask=mask, attn_implementation=data.draw(st.sampled_from(("sdpa", "eager"))),
                    **options)  # fmt: skip
    filler = torch.zeros(2, 3, dtype=torch.long)
    ones = torch.ones_like(IDS)
    with torch.no_grad():
        alone = model(IDS).logits
        left = model(
            torch.cat((filler, IDS), 1), attention_mask=torch.cat((filler, ones), 1)
        ).logits[:, 3:]
        right = model(
            torch.cat((IDS, filler), 1), attention_mask=torch.cat((ones, filler), 1)
        ).logits[:, :7]
    torch.testing.assert_close(left, alone, rtol=0, atol=2e-5)
    torch.testing.assert_close(right, alone, rtol=0, atol=2e-5)


@hypothesis_settings(max_examples=30)
@given(options=variants)
def test_an_encoder_decoder_caches_both_attentions(options: dict[str, Any]) -> None:
    model = seq2seq(**options)
    padding = torch.ones_like(IDS)
    padding[1, 4:] = 0
    target = IDS.flip(-1)
    with torch.no_grad():
        whole = model(IDS, attention_mask=padding, decoder_input_ids=target).logits
        begun = model(IDS, attention_mask=padding, decoder_input_ids=target[:, :-1], use_cache=True)
        last = model(
            attention_mask=padding,
            encoder_outputs=(begun.encoder_last_hidden_state,),
            decoder_input_ids=target[:, -1:],
            past_key_values=begun.past_key_values,
        ).logits
        torch.testing.assert_close(last[:, 0], whole[:, -1], rtol=0, atol=2e-5)
        # what the encoder hides as padding does not matter, what it shows does
        other = IDS.clone()
        other[1, 4:] = 5
        same = model(other, attention_mask=padding, decoder_input_ids=target).logits
        torch.testing.assert_close(same, whole, rtol=0, atol=2e-5)
        other[:, 0] = (IDS[:, 0] + 1) % 40
        changed = model(other, attention_mask=padding, decoder_input_ids=target).logits
    assert float((changed - whole).abs().amax((1, 2)).min()) > 1e-3


def test_an_encoder_decoder_generates_the_same_with_and_without_cache() -> None:
    model = seq2seq(positions="t5", initializer_range=1.0)
    padding = torch.ones_like(IDS)
    padding[1, 4:] = 0
    cached = model.generate(IDS, attention_mask=padding, **GENERATION)
    plain = model.generate(IDS, attention_mask=padding, use_cache=False, **GENERATION)
    assert torch.equal(cached, plain)
    beams = model.generate(IDS, attention_mask=padding, num_beams=3, **GENERATION)
    assert beams.shape == cached.shape


def test_a_batch_of_beams_keeps_its_cache_in_order() -> None:
    model = decoder(positions="alibi", initializer_range=1.0)
    kept = model.generate(IDS, num_beams=4, pad_token_id=0, **GENERATION)
    plain = model.generate(IDS, num_beams=4, pad_token_id=0, use_cache=False, **GENERATION)
    assert torch.equal(kept, plain)


@pytest.mark.parametrize(
    ("config", "auto"),
    [
        (TransformerConfig(**SMALL, positions="t5", sink=True, qk_norm=True), AutoModelForCausalLM),
        (TransformerConfig(**SMALL, tie_word_embeddings=False, scale=0.3), AutoModelForCausalLM),
        (TransformerConfig(**SMALL, architecture="encoder"), AutoModelForMaskedLM),
        (TransformerConfig(**SEQ2SEQ), AutoModelForSeq2SeqLM),
        (TransformerConfig(**SEQ2SEQ, tie_word_embeddings=False), AutoModelForSeq2SeqLM),
    ],
)
def test_it_is_saved_and_loaded(config: TransformerConfig, auto: Any, tmp_path: Path) -> None:
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1  # no longer the seed's
    model.save_pretrained(tmp_path)
    assert list(tmp_path.glob("*.safetensors"))
    assert not list(tmp_path.glob("*.bin"))
    again, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is type(model)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert type(AutoConfig.from_pretrained(tmp_path)) is TransformerConfig
    part = "encoder" if config.architecture == "encoder" else "decoder"
    assert again.config.attention(part) == config.attention(part)
    call = {"decoder_input_ids": IDS} if config.is_encoder_decoder else {}
    with torch.no_grad():
        assert torch.equal(again(IDS, **call).logits, model(IDS, **call).logits)


def test_a_stack_is_loaded_from_a_model_with_a_head(tmp_path: Path) -> None:
    model = decoder(positions="rope")
    model.save_pretrained(tmp_path)
    stack = AutoModel.from_pretrained(tmp_path)
    assert type(stack) is TransformerModel
    assert torch.equal(stack(IDS).last_hidden_state, model.model(IDS).last_hidden_state)


def test_weights_that_a_checkpoint_lacks_come_from_the_seed(tmp_path: Path) -> None:
    decoder(positions="rope", tie_word_embeddings=False).model.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    model = TransformerForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    fresh = decoder(positions="rope", tie_word_embeddings=False)
    assert torch.equal(model.lm_head.weight, fresh.lm_head.weight)


def test_the_seed_decides_the_weights_and_global_randomness_stays() -> None:
    state = torch.get_rng_state()
    one, same, other = decoder(seed=1), decoder(seed=1), decoder(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in one.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)
    assert not torch.equal(one.model.embed_tokens.weight, other.model.embed_tokens.weight)
    first, second = (layer.self_attn.q_proj.weight for layer in one.model.layers)
    assert not torch.equal(first, second)
    assert float(one.model.embed_tokens.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_labels_give_the_loss_of_the_next_or_the_hidden_token() -> None:
    model = decoder()
    out = model(IDS, labels=IDS)
    expected = nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    torch.testing.assert_close(out.loss, expected)

    encoder = TransformerForMaskedLM(TransformerConfig(**SMALL, architecture="encoder")).eval()
    labels = torch.full_like(IDS, -100)
    labels[:, 2] = IDS[:, 2]
    out = encoder(IDS, labels=labels)
    expected = nn.functional.cross_entropy(out.logits[:, 2], IDS[:, 2])
    torch.testing.assert_close(out.loss, expected)

    both = seq2seq()
    labels[:, :2] = 7
    out = both(IDS, labels=labels)
    read = torch.tensor([[1, 7, 7]]).expand(2, 3)
    seen = torch.cat((read, IDS[:, 2:3], torch.zeros(2, 3, dtype=torch.long)), 1)
    logits = both(IDS, decoder_input_ids=seen).logits
    torch.testing.assert_close(out.logits, logits)
    expected = nn.functional.cross_entropy(logits[:, :3].flatten(0, 1), labels[:, :3].flatten())
    torch.testing.assert_close(out.loss, expected)


def test_it_learns() -> None:
    model = decoder(positions="rope").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = model(IDS, labels=IDS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 3.0
    assert losses[-1] < 0.2  # 14 tokens are soon memorized


def test_only_the_kept_positions_get_logits() -> None:
    model = decoder()
    with torch.no_grad():
        last = model(IDS, logits_to_keep=1).logits
        torch.testing.assert_close(last, model(IDS).logits[:, -1:])


def test_attentions_come_back_as_transformers_gives_them() -> None:
    model = seq2seq(attn_implementation="eager", n_kv_heads=2)
    with torch.no_grad():
        out = model(
            IDS, decoder_input_ids=IDS[:, :4], output_attentions=True, output_hidden_states=True
        )
    assert [a.shape for a in out.encoder_attentions] == [(2, 6, 7, 7)] * 2
    assert [a.shape for a in out.decoder_attentions] == [(2, 6, 4, 4)] * 2
    assert [a.shape for a in out.cross_attentions] == [(2, 6, 4, 7)] * 2
    assert len(out.encoder_hidden_states) == len(out.decoder_hidden_states) == 3
    for a in out.decoder_attentions:
        torch.testing.assert_close(a.sum(-1), torch.ones(2, 6, 4))
        assert not bool(a.triu(1).any())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": "sliding", "positions": "rope", "n_kv_heads": 2},
        {"positions": "t5", "attention_temperature": 2.0},
        {"positions": "alibi", "mask": "prefix", "prefix": 3},
        {"softcap": 2.0, "sink": True, "mask": "none"},
    ],
)
def test_the_dispatch_sees_all_that_makes_the_weights(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder in transformers' dispatch can recompute each layer's output."""
    original = AttentionInterface.get_interface
    errors = []

    def get_interface(self: AttentionInterface, name: str, default: Any) -> Any:
        inner = original(self, name, default)

        def watched(
            module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Any, **how: Any
        ) -> Any:
            result = inner(module, q, k, v, mask, **how)
            if mask is None and module.is_causal:
                later = torch.ones(q.shape[2], k.shape[2]).triu(1).bool()
                mask = torch.zeros(later.shape).masked_fill(later, -torch.inf)
            again, _ = explicit_attention(
                module, q, k, v, mask, scaling=how["scaling"], softcap=how.get("softcap"),
                position_bias=how.get("position_bias"), s_aux=getattr(module, "sinks", None),
            )  # fmt: skip
            errors.append(float((again - result[0]).abs().max()))
            return result

        return watched

    model = decoder(**options)
    monkeypatch.setattr(AttentionInterface, "get_interface", get_interface)
    with torch.no_grad():
        model(IDS)
    assert len(errors) == 2
    assert max(errors) < 1e-6


def test_sdpa_and_eager_agree_through_a_whole_model() -> None:
    model = decoder(positions="t5", mask="sliding", sink=True, n_kv_heads=2)
    with torch.no_grad():
        one = model(IDS).logits
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(IDS).logits, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_an_encoder_looks_both_ways_and_its_decoder_only_back(implementation: str) -> None:
    model = seq2seq(attn_implementation=implementation, initializer_range=1.0)
    other = IDS.clone()
    other[:, -1] = (IDS[:, -1] + 1) % 40
    with torch.no_grad():
        first = model.encoder(IDS).last_hidden_state[:, 0]
        moved = model.encoder(other).last_hidden_state[:, 0]
        assert float((moved - first).abs().amax(-1).min()) > 1e-2
        before = model(IDS, decoder_input_ids=IDS).logits[:, :-1]
        after = model(IDS, decoder_input_ids=other).logits[:, :-1]
    torch.testing.assert_close(after, before, rtol=0, atol=2e-5)


def test_linear_maps_have_the_names_that_adapters_look_for() -> None:
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in decoder(activation="swiglu").named_modules()
        if isinstance(module, nn.Linear)
    }
    own = {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj", "lm_head"}
    assert names == own


def test_a_wrong_architecture_or_input_is_refused() -> None:
    with pytest.raises(AttnVizError, match="architecture"):
        TransformerForCausalLM(TransformerConfig(architecture="encoder"))
    with pytest.raises(AttnVizError, match="TransformerForSeq2SeqLM"):
        TransformerModel(TransformerConfig(architecture="encoder-decoder"))
    model = decoder()
    with pytest.raises(AttnVizError, match="attention_mask"):
        model(IDS, attention_mask=torch.ones(2, 6))
    with pytest.raises(AttnVizError, match="input_ids"):
        model()
    with pytest.raises(AttnVizError, match="part of a model"):
        model.model.layers[0].self_attn.explain(torch.zeros(1, 3, 24))


def test_a_layer_of_its_own_equals_the_one_in_a_model() -> None:
    model = decoder(positions="rope", mask="sliding", feed_forward=False)
    inside = model.model.layers[0].self_attn
    outside = MultiHeadAttention(
        AttentionConfig(d_model=24, n_heads=6, positions="rope", mask="sliding", norm="pre")
    )
    outside.load_state_dict(inside.state_dict())
    with torch.no_grad():
        x = model.model.embed_tokens(IDS)
        hidden = model(IDS, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(outside(x)[0], hidden, rtol=0, atol=1e-6)
