"""Tiny random models of every text, seq2seq and image-classification type of transformers.

`TYPES` is drawn from transformers' own tables of which class serves which model type: causal and
masked language models, text-to-text models and image classifiers, all of them. A type that serves
two tasks with one class comes once. `ENCODERS` adds text and image encoders that exist only as a
base class and run from token ids or pixels alone. Types of speech, video and time series are not
here, nor those that can only be fed several modalities at once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.tiny_models.configs import tiny_config
from tests.tiny_models.exceptions import CONFIGS, UNBUILDABLE
from tests.tiny_models.inputs import Inputs, inputs_for
from tests.tiny_models.weights import draw_weights

TASKS = {
    "causal-lm": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "masked-lm": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "seq2seq-lm": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "image-classification": modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
}
ENCODERS = (
    "aimv2_vision_model", "canine", "chinese_clip_vision_model", "clip_text_model",
    "clip_vision_model", "dinov3_vit", "dpr", "embedding_gemma2_text", "glm4v_text",
    "glm_image_text", "glm_ocr_text", "glpn", "granite_docling_text", "internvl_vision",
    "markuplm", "mgp-str", "mistral4", "mistral_large4_text", "mlcd", "mlcd_vision_model",
    "molmo2_text", "muse_glimmer_text", "openai_privacy_filter", "pixio", "pixtral",
    "qianfan_ocr_vision", "qwen2_5_vl_text", "qwen2_vl_text", "qwen3_vl_moe_text",
    "qwen3_vl_text", "radio", "sam3_vit_model", "sam_hq_vision_model", "sam_vision_model",
    "siglip_vision_model", "splinter", "tipsv2_text_model", "tipsv2_vision_model",
    "visual_bert", "vit_mae", "vitdet", "yolos",
)  # fmt: skip


@dataclass(frozen=True)
class TinyType:
    """One row of the coverage table: a model type, a task, and the class that serves it."""

    model_type: str
    task: str
    class_name: str

    @property
    def name(self) -> str:
        return f"{self.model_type}/{self.class_name}"


def _types() -> tuple[TinyType, ...]:
    encoders = {name: modeling_auto.MODEL_MAPPING_NAMES[name] for name in ENCODERS}
    found: dict[str, TinyType] = {}
    for task, mapping in {**TASKS, "encoder": encoders}.items():
        for model_type, names in mapping.items():
            tiny = TinyType(model_type, task, names if isinstance(names, str) else names[0])
            if model_type not in UNBUILDABLE:
                found.setdefault(tiny.name, tiny)
    return tuple(found.values())


TYPES: tuple[TinyType, ...] = _types()


def build(
    tiny: TinyType, attn_implementation: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, Inputs]:
    """The tiny model in evaluation mode, and inputs for it.

    Args:
        attn_implementation: None for the type's default; the weights are the same for all.
        dtype: what the float32 weights and inputs are cast to.
    """
    kind: type[PreTrainedModel] = getattr(transformers, tiny.class_name)
    config_kind = CONFIG_MAPPING[tiny.model_type]
    if kind.config_class in [
        spec.config_class for spec in config_kind.sub_configs_defaults.values()
    ]:
        config_kind = kind.config_class  # a language model alone, of a type that has more parts
    overrides = copy.deepcopy(CONFIGS.get(config_kind.model_type, {}) | CONFIGS.get(tiny.name, {}))
    if tiny.task == "causal-lm" and "is_decoder" in {field.name for field in fields(config_kind)}:
        overrides.setdefault("is_decoder", True)
    config: PreTrainedConfig = tiny_config(config_kind, overrides)
    options = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    torch.manual_seed(0)
    module = kind._from_config(config, **options).eval()
    draw_weights(module)
    inputs = inputs_for(module, tiny.model_type, tiny.task)
    if dtype != torch.float32:
        module = module.to(dtype)
        inputs = {k: t.to(dtype) if t.is_floating_point() else t for k, t in inputs.items()}
    return module, inputs
