"""Shrinks any transformers configuration to a size that a test can afford.

A field's name says what it measures, so one table of names serves every type: widths become 32,
heads 4 (2 for keys and values), layers 2, the vocabulary 99. Value heads differ from query heads in
width where a type allows it, and windows are narrower than the input, so that a mistake in either
shows. What the names can't say is in `exceptions.py`.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields
from typing import Any

from transformers import PreTrainedConfig

VOCABULARY = 99
WIDTH = 32
HEADS = 4
WINDOW = 4
IMAGE = 32
PATCH = 8

# What a field holds if its whole name matches; the first match wins. A default of None stays None
# (the type then derives the value itself), what isn't a number is left alone, and in a tuple every
# element is replaced.
_SIZES: tuple[tuple[str, int], ...] = (
    (r"(text_|src_|tgt_|t2u_)?vocab_size(_per_layer_input)?|unpadded_vocab_size", VOCABULARY),
    (r"unit_hifi_gan_vocab_size|vision_vocab_size", VOCABULARY),
    (r"type_vocab_size|task_type_vocab_size", 2),
    (r"hidden_size_per_layer_input", 8),
    (
        r"(text_config_|vision_|decoder_|encoder_|out_|output_|adapter_|projector_|projection_)?hidden_size",
        WIDTH,
    ),
    (
        r"backbone_hidden_size|cross_attention_hidden_size|image_text_hidden_size|lm_hidden_size",
        WIDTH,
    ),
    (
        r"d_model|dim|n_embd|emb_dim|embed_dim|embedding_dim|embedding_size|width|word_embed_proj_dim",
        WIDTH,
    ),
    (
        r"hidden_dim|unit_embed_dim|lang_embed_dim|spkr_embed_dim|projection_dim|mask_feature_size",
        WIDTH,
    ),
    (
        r"(text_|speech_encoder_|decoder_|shared_|prefix_dense_|alignment_)?intermediate_size(_mlp)?",
        2 * WIDTH,
    ),
    (
        r"(moe_shared_expert_|shared_experts?_|moe_|expert_ffn_|dense_|projection_)intermediate_(size|dim)",
        2 * WIDTH,
    ),
    (
        r"(t2u_)?(encoder|decoder)_ffn_dim|ffn_dim|ffn_hidden_size|d_ff|d_inner|dff|dim_ff|dim_feedforward",
        2 * WIDTH,
    ),
    (r"expert_ffn_hidden_size|ffn_intermediate_size", 2 * WIDTH),
    (
        r"(decoder_|num_)?(global_|linear_|swa_)?(num_)?key_value_heads|num_kv_heads|multi_query_group_num",
        HEADS // 2,
    ),
    (r"(num_global|swa_num|sliding_num|local_num|swa|linear)_(kv|key_value)_heads", HEADS // 2),
    (
        r"(decoder_|encoder_|speech_encoder_|t2u_(en|de)coder_|num_|n_)?(num_|self_|cross_)?(attention_)?heads?",
        HEADS,
    ),
    (r"decoder_(self|cross)_attention_heads|swa_num_attention_heads|linear_num_heads", HEADS),
    (r"num_(self|cross)_attention_heads|num_attention_heads_per_layer", HEADS),
    (r"index_n_heads", HEADS),
    (r"index_head_dim", 16),
    (r"index_topk", 6),
    (r"linear_num_key_heads", 2),
    (r"linear_num_value_heads", HEADS),
    (
        r"linear_(key_|value_)?head_dim|(global_|swa_)?head_dim|d_kv|d_head|dim_head|kv_channels|attention_head_dim",
        8,
    ),
    (r"qk_rope_head_dim|qk_nope_head_dim", 8),
    (r"rotary_dim", 4),
    (r"(swa_)?v_head_dim", 12),
    (r"kv_lora_rank|q_lora_rank|o_lora_rank", 16),
    (r"laurel_rank|gated_norm_rank", 4),
    (
        r"(num_|n_|encoder_|decoder_|t2u_encoder_|t2u_decoder_|speech_encoder_|num_text_)?(hidden_)?layers?",
        2,
    ),
    (
        r"num_(encoder|decoder)_layers|decoder_num_hidden_layers|num_encoder_blocks|depth|num_attention_layers",
        2,
    ),
    (r"(adapter|num_adapter)_layers", 1),
    (r"first_k_dense_replace|num_dense_layers|moe_layer_start_index", 1),
    (r"num_(local_|routed_)?experts|n_routed_experts|moe_num_experts|num_experts_total", 4),
    (r"num_experts_per_tok(en)?|moe_topk|moe_k|top_k_experts|num_selected_experts", 2),
    (r"n_shared_experts|num_shared_experts|moe_num_shared_experts", 1),
    (r"n_group|topk_group", 1),
    (r"num_nextn_predict_layers|num_mtp_layers|mtp_num_hidden_layers", 0),
    (
        r"(max|n|num)_position(s|_embeddings)|max_seq_len|n_ctx|max_sequence_length|context_length",
        64,
    ),
    (
        r"max_(source|target)_positions|max_(en|de)coder_position_embeddings|max_2d_position_embeddings",
        64,
    ),
    (
        r"sliding_window(_size)?|attention_window|local_attention(_window)?|attention_chunk_size|chunk_size",
        WINDOW,
    ),
    (r"swa_window_size|keep_window_size|window", WINDOW),
    (r"image_size|pretrain_image_size|input_size|img_size", IMAGE),
    (r"patch_size", PATCH),
    (r"max_img_size", IMAGE),
    (
        r"mamba_d_state|ssm_state_size|state_size|mamba_d_conv|conv_kernel|d_conv|mamba_conv_kernel",
        4,
    ),
    (r"mamba_n_heads|mamba_num_heads|n_mamba_heads", 4),
    (r"mamba_d_head|mamba_head_dim|mamba_headdim", 16),
    (r"mamba_d_ssm", 64),
    (r"mamba_chunk_size", 8),
    (r"mamba_n_groups|mamba_ngroups|n_groups", 1),
    (r"num_labels", 3),
    (r"num_mel_bins", 16),
    (r"router_hidden_size|density_router_hidden_size", 8),
)

# Values that turn on what the type's default leaves off.
_SWITCHES: dict[str, Any] = {"use_sliding_window": True, "max_window_layers": 1, "use_cache": False}

# Ids of special tokens are moved above these, out of the way of the inputs.
_FIRST_SPECIAL = 60
_LOW_SPECIALS = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_LOW_SPECIALS |= {"pad_index": 0, "bos_index": 1, "eos_index": 2, "unk_index": 3, "mask_index": 5}

Overrides = dict[str, Any]


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else None


def _resized(default: Any, size: int) -> Any:
    """`size` in the form of `default`: an int for an int, a tuple of it for a tuple of ints."""
    if isinstance(default, (tuple, list)):
        return type(default)(_resized(part, size) for part in default)
    return size if isinstance(default, int) and not isinstance(default, bool) else default


def _shrunk(name: str, default: Any, place: int) -> Any:
    """A field's tiny value; `place` keeps the ids of special tokens apart."""
    if name in _SWITCHES:
        return _SWITCHES[name]
    if name in _LOW_SPECIALS:
        return _LOW_SPECIALS[name] if isinstance(default, (int, list, tuple)) else default
    if re.fullmatch(r".*_token_(id|index)|.*_index", name):
        special = isinstance(default, int) and default >= 0
        return _FIRST_SPECIAL + place % (VOCABULARY - _FIRST_SPECIAL) if special else default
    size = next((size for pattern, size in _SIZES if re.fullmatch(pattern, name)), None)
    return default if size is None else _resized(default, size)


def tiny_config(
    kind: type[PreTrainedConfig],
    overrides: Overrides | None = None,
    start: Overrides | None = None,
) -> PreTrainedConfig:
    """A small configuration of class `kind`.

    Args:
        overrides: wins over the table of names; what stands under a sub-configuration's name, a
            dict, goes to that one.
        start: what a larger configuration sets in this one before it is shrunk.
    """
    overrides, start = dict(overrides or {}), start or {}
    inherited = {field.name for field in fields(PreTrainedConfig)}
    own = [f for f in fields(kind) if f.name not in {*inherited, *kind.sub_configs_defaults}]
    values = {f.name: _shrunk(f.name, start.get(f.name, _default(f)), i) for i, f in enumerate(own)}
    # what stays at its default is not set at all, so that the type derives what depends on it
    values = {f.name: values[f.name] for f in own if values[f.name] != _default(f)}
    if {"kv_lora_rank", "num_key_value_heads"} <= values.keys():
        values["num_key_value_heads"] = HEADS  # keys from a shared latent: one a query head
    values |= _layer_pattern(kind, start)
    for name, spec in kind.sub_configs_defaults.items():
        part = spec.config_class
        if not issubclass(part, PreTrainedConfig):  # AutoConfig: any class, by its name
            part = spec.get_config_class(spec.model_type)
        values[name] = tiny_config(part, overrides.pop(name, {}), dict(spec.init_kwargs))
    return kind(**{**values, **overrides})


def _layer_pattern(kind: type[PreTrainedConfig], start: Overrides) -> Overrides:
    """One layer of each kind of the full-sized model, in the order in which they first come."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    name = next((name for name in ("layers_block_type", "layer_types") if name in names), None)
    if name is None:
        return {}
    kinds = list(dict.fromkeys(getattr(kind(**start), name) or ()))
    pattern = kinds * 2 if len(kinds) == 1 else kinds
    return {name: pattern, "num_hidden_layers": len(pattern)} if pattern else {}
