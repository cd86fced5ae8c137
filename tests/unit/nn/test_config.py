"""Contradictory settings are refused, with a remedy."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from attnviz.errors import AttnVizError
from attnviz.nn import AttentionConfig, TransformerConfig, TransformerForCausalLM


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"d_model": 64, "n_heads": 5}, "1, 2, 4, 8, 16, 32, 64"),
        ({"d_model": 12, "n_heads": 6, "n_kv_heads": 4}, "1, 2, 3, 6"),
        ({"d_head": 7, "positions": "rope"}, "even d_head"),
        ({"d_model": 9, "n_heads": 3, "positions": "sinusoidal"}, "even d_model"),
        ({"mask": "sliding", "window": 0}, "1 or more"),
        ({"prefix": -1}, "0 or more"),
        ({"n_heads": 0}, "1 or more"),
        ({"n_kv_heads": 0}, "1 or more"),
        ({"temperature": 0.0}, "above 0"),
        ({"softcap": -1.0}, "above 0"),
        ({"scale": 0.0}, "above 0"),
        ({"scale": "root"}, "sqrt, none"),
        ({"dropout": 1.0}, "less than 1"),
        ({"mask": "diagonal"}, "causal"),
        ({"positions": "xpos"}, "rope"),
        ({"activation": "tanh"}, "swiglu"),
        ({"positions": "t5", "t5_buckets": 5}, "even number"),
        ({"positions": "t5", "t5_buckets": 32, "t5_max_distance": 16}, "16"),
    ],
)
def test_a_wrong_setting_says_what_to_do(wrong: dict, remedy: str) -> None:
    for config in (AttentionConfig, TransformerConfig):
        own = {"attention_temperature" if k == "temperature" else k: v for k, v in wrong.items()}
        with pytest.raises(AttnVizError) as caught:
            config(**(wrong if config is AttentionConfig else own))
        assert remedy in caught.value.remedy


def test_defaults_follow_the_number_of_heads() -> None:
    config = replace(AttentionConfig(d_model=48, n_heads=4), n_heads=6)
    assert (config.kv_heads, config.head_dim, config.hidden_dim) == (6, 8, 192)


def test_heads_need_not_divide_d_model_when_d_head_is_given() -> None:
    assert AttentionConfig(d_model=64, n_heads=5, d_head=8).head_dim == 8


@pytest.mark.parametrize(
    ("scale", "temperature", "scaling"),
    [("sqrt", 2.0, 0.125), ("none", 4.0, 0.25), (3.0, 1.5, 2.0)],
)
def test_scaling_holds_scale_and_temperature(
    scale: str | float, temperature: float, scaling: float
) -> None:
    config = AttentionConfig(d_model=64, n_heads=4, scale=scale, temperature=temperature)
    assert config.scaling == scaling


def test_a_transformer_passes_every_setting_to_its_layers() -> None:
    given = {
        "d_model": 24, "n_heads": 6, "n_kv_heads": 3, "d_head": 10, "bias": False, "dropout": 0.1,
        "scale": 0.7, "temperature": 1.3, "qk_norm": True, "softcap": 9.0, "sink": True,
        "mask": "prefix", "window": 3, "prefix": 2, "positions": "t5", "max_positions": 33,
        "rope_theta": 5e5, "t5_buckets": 8, "t5_max_distance": 20, "residual": False,
        "norm": "post", "norm_kind": "rms", "norm_eps": 1e-3, "feed_forward": True,
        "feed_forward_size": 17, "activation": "relu", "seed": 11,
    }  # fmt: skip
    assert set(given) == {field.name for field in fields(AttentionConfig)}
    layer = AttentionConfig(**given)
    own = {"attention_temperature" if k == "temperature" else k: v for k, v in given.items()}
    assert TransformerConfig(**own).attention("decoder") == layer


def test_the_mask_belongs_to_the_decoder_unless_there_is_only_an_encoder() -> None:
    both = TransformerConfig(architecture="encoder-decoder", mask="sliding", positions="rope")
    assert both.attention("decoder").mask == "sliding"
    assert both.attention("encoder").mask == "none"
    assert (both.attention("cross").mask, both.attention("cross").positions) == ("none", "none")
    assert TransformerConfig().mask == "causal"
    assert TransformerConfig(architecture="encoder").mask == "none"
    assert TransformerConfig(architecture="encoder", mask="sliding").attention("encoder").mask == (
        "sliding"
    )


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(AttnVizError, match="encoder-decoder"):
        TransformerConfig(architecture="both")


def test_the_temperature_of_attention_is_not_that_of_sampling() -> None:
    model = TransformerForCausalLM(TransformerConfig(attention_temperature=3.0))
    assert model.generation_config.temperature in (None, 1.0)
    assert model.model.layers[0].self_attn.scaling == 16**-0.5 / 3.0
