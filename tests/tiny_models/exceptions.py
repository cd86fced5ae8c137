"""What the table of names in `configs.py` can't know, type by type."""

from __future__ import annotations

from typing import Any

_TWO_STAGES: dict[str, Any] = {
    "depths": (2, 2),
    "num_heads": (2, 4),
    "embed_dim": 16,
    "patch_size": 4,
    "window_size": 4,
}
_CONVOLUTIONS: dict[str, Any] = {
    "depths": (1, 1, 2, 2),
    "hidden_sizes": (8, 16, 24, 32),
    "patch_size": 4,
}
_REDUCED: dict[str, Any] = {
    "depths": (2, 2),
    "hidden_sizes": (16, 32),
    "patch_sizes": (4, 2),
    "strides": (4, 2),
    "num_attention_heads": (2, 4),
    "mlp_ratios": (2, 2),
    "num_encoder_blocks": 2,
}
_AUDIO_CODEC: dict[str, Any] = {
    "downsampling_ratios": (2, 2),
    "depths": (1, 1, 1),
    "num_filters": 4,
    "hidden_size": 8,
}
_LSH: dict[str, Any] = {
    "axial_pos_shape": (8, 8),
    "axial_pos_embds_dim": (16, 16),
    "attn_layers": ["local", "lsh"],
    "local_attn_chunk_length": 4,
    "lsh_attn_chunk_length": 4,
    "num_buckets": 2,
    "attention_head_size": 8,
    "feed_forward_size": 64,
    "hash_seed": 0,
}
_THREE_AXES: dict[str, Any] = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}
}
_BLOCKS: dict[str, Any] = {
    "block_size": 2,
    "num_random_blocks": 1,
}  # small enough to be sparse over 16 tokens
_HUNYUAN: dict[str, Any] = {"head_dim": 8, "num_key_value_heads": 2}
_INDEXER: dict[str, Any] = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
    "hc_lowrank": 8,
}

# Fields that win over the table, by model type or by "type/class".
CONFIGS: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "big_bird": _BLOCKS,
    "bigbird_pegasus": _BLOCKS,
    "bit": {**_CONVOLUTIONS, "num_groups": 4, "embedding_size": 8},
    "blt": {
        "encoder_hash_byte_group_vocab": 50,
        "encoder_hash_byte_group_size": [3, 4],
        "patch_size": 4,
        "encoder_config": {"hidden_size_global": 32},
        "decoder_config": {"hidden_size_global": 32},
    },
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10_000.0}}
    },
    "convnext": _CONVOLUTIONS,
    "convnextv2": _CONVOLUTIONS,
    "cvt": {"embed_dim": (16, 32, 32), "num_heads": (1, 2, 4), "depth": (1, 2, 3)},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 64},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "donut-swin": _TWO_STAGES,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {"num_key_value_heads": 4},
    "efficientnet": {"hidden_dim": 640, "width_coefficient": 0.5, "depth_coefficient": 0.5},
    "esm": {"vocab_size": 99, "pad_token_id": 0, "mask_token_id": 60},
    "focalnet": {
        "depths": (2, 2),
        "hidden_sizes": (16, 32),
        "focal_levels": (2, 2),
        "focal_windows": (3, 3),
        "patch_size": 4,
    },
    "funnel": {"block_sizes": (2, 2)},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4": {"vision_config": {"position_embedding_size": 16}},
    "gemma4_assistant": {
        "text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
    },
    "gemma4_unified": {
        "vision_config": {"mm_embed_dim": 32, "mm_posemb_size": 16, "output_proj_dims": 32}
    },
    "glpn": {**_REDUCED, "sr_ratios": (2, 1)},
    "glm4v_text": _THREE_AXES,
    "glm_image_text": _THREE_AXES,
    "glm_ocr_text": _THREE_AXES,
    "qwen2_vl_text": _THREE_AXES,
    "qwen2_5_vl_text": _THREE_AXES,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "hiera": {
        "embed_dim": 16,
        "depths": (1, 2, 2),
        "num_heads": (1, 2, 4),
        "patch_stride": (2, 2),
        "num_query_pool": 2,
        "masked_unit_attention": (True, True, False),
    },
    "hgnet_v2": {
        "stage_in_channels": (16, 16, 16, 16),
        "stage_mid_channels": (8, 8, 8, 8),
        "stage_out_channels": (16, 16, 16, 16),
        "stem_channels": (3, 8, 16),
        "hidden_sizes": (16, 16, 16, 16),
    },
    "hunyuan_v1_dense": _HUNYUAN,
    "hunyuan_v1_moe": _HUNYUAN,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "levit": {
        "hidden_sizes": (16, 24, 32),
        "num_attention_heads": (2, 3, 4),
        "depths": (2, 1, 1),
        "key_dim": (8, 8, 8),
        "patch_size": 16,
        "image_size": 128,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "llama4_text": {"no_rope_layers": [1, 0]},
    "longcat_flash": {"expert_ffn_hidden_size": 32, "zero_expert_num": 2},
    "luke": {"entity_vocab_size": 20, "entity_emb_size": 16},
    "mamba2": {"num_heads": 4, "head_dim": 16},
    "ministral": {"head_dim": 8},
    "mobilevit": {
        "patch_size": 2,
        "image_size": 64,
        "hidden_sizes": (32, 32, 32),
        "neck_hidden_sizes": (8, 8, 16, 16, 32, 32, 64),
    },
    "mobilevitv2": {
        "patch_size": 2,
        "image_size": 64,
        "base_attn_unit_dims": (16, 16, 16),
        "n_attn_blocks": (1, 1, 1),
    },
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilenet_v2": {"depth_multiplier": 0.25},
    "modernbert": {"local_attention": 8},
    "modernbert-decoder": {"local_attention": 8},
    "modernvbert": {"text_config": {"local_attention": 8}},
    "nemo_speechlm": {
        "audio_config": {"diarization_config": {"head_config": {"audio_hidden_size": 32}}}
    },
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "neomme": {"head_dim": 16, "embedding_rank": 16},
    "pegasus_x": {"block_size": 4, "num_global_tokens": 4},
    "perceiver": {
        "num_latents": 10,
        "d_latents": 32,
        "num_self_attends_per_block": 2,
        "train_size": (8, 8),
    },
    "poolformer": {
        "num_encoder_blocks": 4,
        "patch_size": 7,
        "hidden_sizes": (8, 16, 24, 32),
        "depths": (1, 1, 1, 1),
    },
    "pvt": {**_REDUCED, "sequence_reduction_ratios": (2, 1)},
    "pvt_v2": {**_REDUCED, "sr_ratios": (2, 1)},
    "qwen4_exp_text": _INDEXER,
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "attention_window_size": 4},
    "reformer": _LSH,
    "reformer/ReformerModelWithLMHead": {"is_decoder": True},
    "regnet": _CONVOLUTIONS,
    "resnet": _CONVOLUTIONS,
    "roc_bert": {
        "pronunciation_vocab_size": 20,
        "shape_vocab_size": 20,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "segformer": {**_REDUCED, "sr_ratios": (2, 1)},
    "shieldgemma2": {"yes_token_index": 60, "no_token_index": 61},
    "swiftformer": {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 24, 32)},
    "t5gemma2": {"encoder": {"text_config": {"sliding_window": 12}}},
    "swin": _TWO_STAGES,
    "swinv2": {**_TWO_STAGES, "pretrained_window_sizes": (0, 0)},
    "textnet": {"stem_out_channels": 8, "hidden_sizes": (8, 8, 8, 8, 8)},
    "vibevoice_asr": {
        "acoustic_tokenizer_encoder_config": _AUDIO_CODEC,
        "semantic_tokenizer_encoder_config": _AUDIO_CODEC,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
    },
    "zaya": {"num_experts_per_tok": 1},
}

# What can't be built, and why.
UNBUILDABLE: dict[str, str] = {
    "dinat": "needs the package natten",
    "gemma3n": "its vision tower needs the package timm; its language model is gemma3n_text",
    "gemma4_assistant": "its layers all use another model's keys, which transformers 5.23 refuses",
    "gemma4_unified_assistant": "as gemma4_assistant",
    "timm_wrapper": "needs the package timm",
}

# What mixes positions without a softmax over keys: there is no attention map to show.
OTHER_MIXING: dict[str, str] = {
    "bit": "convolutions",
    "convnext": "convolutions",
    "convnextv2": "convolutions",
    "efficientnet": "convolutions",
    "falcon_mamba": "a state space",
    "fnet": "Fourier transforms",
    "focalnet": "focal modulation",
    "hgnet_v2": "convolutions",
    "mamba": "a state space",
    "mamba2": "a state space",
    "mobilenet_v1": "convolutions",
    "mobilenet_v2": "convolutions",
    "mobilevitv2": "linear attention: a softmax over positions without queries",
    "poolformer": "pooling",
    "pp_lcnet": "convolutions",
    "regnet": "convolutions",
    "resnet": "convolutions",
    "rwkv": "a linear recurrence",
    "swiftformer": "additive attention: a softmax over positions without keys",
    "textnet": "convolutions",
    "xlstm": "a linear recurrence",
}
