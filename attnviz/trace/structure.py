"""The structure of a transformers module: its blocks, and the kind of each attention layer."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

Kind = Literal["encoder", "decoder", "cross"]
Modality = Literal["text", "image", "other"]

_ATTENTION = re.compile(r"attention|attn|MLA$", re.IGNORECASE)
_CROSS = re.compile(
    r"cross|encoder_attn|encdecattention|encoder_decoder_attention|\wPerceiverAttention"
    r"|^visual_attention$",  # LXMERT's, between words and regions
    re.IGNORECASE,
)
# Modules whose positions are learned slots, whatever their input.
_SLOTS = re.compile(r"perceiver|resampler|q_?former|abstractor|connector|projector", re.IGNORECASE)
# Names of parts that read images (r_layers: LXMERT's regions), and audio or video.
_VISION = re.compile(r"(vision|visual|visn|image)\w*|r_layers")
_AUDIO = re.compile(r"(audio|speech|video)\w*")


@dataclass(frozen=True)
class Block:
    """A block of the residual stream.

    Attributes:
        name, module: the module and its path. kind: the side of the model it is on.
        tower: the path of the list that holds it. A model may have several, each with a stream of
            its own: a vision tower, a resampler and a language model.
    """

    name: str
    module: nn.Module
    kind: Kind
    tower: str


def side_of(module: PreTrainedModel, name: str) -> Kind:
    """Whether the part called ``name`` encodes or decodes."""
    if getattr(module.config, "is_encoder_decoder", False):
        # the outermost part decides: a decoder may be a BERT, whose layers are its "encoder"
        for part in name.split("."):
            if "decoder" in part:
                return "decoder"
            if "encoder" in part:
                return "encoder"
        return "decoder" if modality_of(module, name) == "text" else "encoder"
    is_decoder = is_causal_lm(module) and modality_of(module, name) == "text"
    return "decoder" if is_decoder else "encoder"


def modality_of(module: PreTrainedModel, name: str) -> Modality:
    """What the positions of the part called ``name`` are: of a text, of an image, or other.

    Other positions are audio frames, or learned slots (of a resampler or a Q-Former).
    """
    ancestors: list[nn.Module] = [module]
    for part in name.split("."):
        child = ancestors[-1]._modules.get(part)
        if child is None:
            break
        ancestors.append(child)
    if any(_SLOTS.search(type(m).__name__) for m in ancestors):
        return "other"
    parts = name.removeprefix(f"{module.base_model_prefix}.").split(".")
    if any(_VISION.fullmatch(part) for part in parts):
        return "image"
    if any(_AUDIO.fullmatch(part) for part in parts):
        return "other"
    for owner in reversed(ancestors):
        if not isinstance(owner, PreTrainedModel):
            continue
        parameters = inspect.signature(owner.forward).parameters
        if ("input_ids" in parameters) != ("pixel_values" in parameters):
            return "text" if "input_ids" in parameters else "image"
        modalities = owner.input_modalities
        if "text" not in modalities:
            return "image" if "image" in modalities else "other"
    return "text"


def is_causal_lm(module: PreTrainedModel) -> bool:
    """Whether the model is a causal language model."""
    if getattr(module.config, "is_encoder_decoder", False):
        return False
    if getattr(module.config, "is_decoder", False):
        return True
    name = type(module).__name__
    if name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Text2Text")):
        return True
    if "MaskedLM" in name:
        return False
    flags = [m.is_causal for m in module.modules() if hasattr(m, "is_causal")]
    return bool(flags) and all(flags)


def kind_of(module: PreTrainedModel, name: str, attention: nn.Module) -> Kind:
    """The kind of an attention module called ``name`` inside ``module``."""
    if getattr(attention, "is_cross_attention", False):
        return "cross"
    parts = name.split(".")
    if any(_CROSS.search(part) for part in parts[-3:]) or _CROSS.search(type(attention).__name__):
        return "cross"
    return side_of(module, name)


def blocks(module: PreTrainedModel) -> list[Block]:
    """The outermost repeated modules with attention, and those in the same lists without.

    The recurrent blocks of a hybrid model are part of the same stream, so they are blocks as well.
    """
    found: list[Block] = []

    def visit(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            path = f"{prefix}{name}"
            if isinstance(child, nn.ModuleList) and any(map(_has_attention, child)):
                add_all(child, path)
            else:
                visit(child, f"{path}.")

    def add_all(members: nn.ModuleList, path: str) -> None:
        for i, member in enumerate(members):
            name = f"{path}.{i}"
            if isinstance(member, nn.ModuleList):  # a stage, which has a stream of its own
                add_all(member, name)
            elif member is not None:
                found.append(Block(name, member, side_of(module, name), path))

    visit(module, "")
    return found


def attention_inside(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """The innermost modules of a block whose class is named as attention."""
    named = [(n, m) for n, m in block.named_modules() if _ATTENTION.search(type(m).__name__)]
    return [(n, m) for n, m in named if not any(o.startswith(f"{n}.") for o, _ in named if o != n)]


def _has_attention(module: nn.Module | None) -> bool:
    """Whether attention is inside; Informer's list of convolutions ends with a None."""
    return module is not None and any(_ATTENTION.search(type(m).__name__) for m in module.modules())
