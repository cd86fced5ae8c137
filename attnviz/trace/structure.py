"""What a transformers module is made of: its blocks, and what kind of attention lies where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.trace.recorder import Recorder

Kind = Literal["encoder", "decoder", "cross"]

_ATTENTION = re.compile(r"attention|attn", re.IGNORECASE)
_UNSEEN = "it has no softmax over keys that could be seen (sparse, hashed or linear attention)"
_CROSS = re.compile(r"cross|encoder_attn|encdecattention|encoder_decoder_attention", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """A layer of the residual stream: a named module, and the side of the model it is on."""

    name: str
    module: nn.Module
    kind: Kind


@dataclass
class Stream:
    """Block inputs and outputs of one forward pass, in the order in which the blocks ran.

    ``entered[i]`` is (B, n, d_model), what block i received, where that is kept; ``left`` is what
    the last block of a side gave, pass by pass.
    """

    blocks: list[Block] = field(default_factory=list)
    entered: list[Tensor | None] = field(default_factory=list)
    left: dict[Kind, list[Tensor]] = field(default_factory=dict)


def side(module: PreTrainedModel, name: str) -> Kind:
    """Whether what is called ``name`` inside the model encodes or decodes."""
    config = module.config
    if getattr(config, "is_encoder_decoder", False):
        # the outermost part decides: a decoder may be a BERT, whose layers are its "encoder"
        for part in name.split("."):
            if "decoder" in part:
                return "decoder"
            if "encoder" in part:
                return "encoder"
        return "decoder"
    if re.search(r"(^|\.)(vision|visual|image|audio)\w*(\.|$)", name):
        return "encoder"
    return "decoder" if is_causal_lm(module) else "encoder"


def is_causal_lm(module: PreTrainedModel) -> bool:
    """Whether the model continues text."""
    if getattr(module.config, "is_encoder_decoder", False):
        return False
    if getattr(module.config, "is_decoder", False):
        return True
    name = type(module).__name__
    if name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return True
    if "MaskedLM" in name:
        return False
    found = [m.is_causal for m in module.modules() if hasattr(m, "is_causal")]
    return bool(found) and all(found)


def kind_of(module: PreTrainedModel, name: str, attention: nn.Module) -> Kind:
    """The kind of an attention module called ``name`` inside ``module``."""
    if getattr(attention, "is_cross_attention", False):
        return "cross"
    parts = name.split(".")
    if any(_CROSS.search(part) for part in parts[-3:]) or _CROSS.search(type(attention).__name__):
        return "cross"
    return side(module, name)


def blocks(module: PreTrainedModel) -> list[Block]:
    """The outermost repeated modules that hold attention, and their fellows that hold none.

    A hybrid model's recurrent blocks carry the same stream, so they are blocks as well.
    """
    found: list[Block] = []

    def visit(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            path = f"{prefix}{name}"
            if isinstance(child, nn.ModuleList) and any(_holds_attention(m) for m in child):
                for i, member in enumerate(child):
                    if not isinstance(member, nn.ModuleList):
                        label = f"{path}.{i}"
                        found.append(Block(label, member, side(module, label)))
            else:
                visit(child, f"{path}.")

    visit(module, "")
    return found


def attention_inside(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """The innermost modules of a block that are attention by name."""
    named = [(n, m) for n, m in block.named_modules() if _ATTENTION.search(type(m).__name__)]
    return [(n, m) for n, m in named if not any(o.startswith(f"{n}.") for o, _ in named if o != n)]


@contextmanager
def stream_of(module: PreTrainedModel, recorder: Recorder, keep: bool) -> Iterator[Stream]:
    """Notes what enters and leaves each block while ``recorder`` is active in this thread.

    The hooks live as long as the ``with`` block and ignore other threads' passes.

    Args:
        keep: whether the tensors are kept, or only the order of the blocks.
    """
    stream = Stream()
    running: list[tuple[Block, int, int | None]] = []  # a block, calls before it, its positions
    handles = []
    found = blocks(module)
    last = {b.kind: b for b in found}

    def enter(block: Block) -> Any:
        # no kwargs: another thread's pass, which torch began to call as this hook was removed
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
            if kwargs is None or not recorder.is_active():
                return
            recorder.settle()
            hidden = kwargs.get("hidden_states", args[0] if args else None)
            length, entered = None, None
            if isinstance(hidden, Tensor) and hidden.ndim > 2:
                length = hidden.shape[1:-1].numel()
                # a copy: some models add to the stream in place
                entered = hidden.detach().clone() if keep else None
            running.append((block, recorder.n_calls, length))
            stream.blocks.append(block)
            stream.entered.append(entered)

        return hook

    def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not recorder.is_active() or not running:
            return
        block, before, length = running.pop()
        unseen = attention_inside(block.module)[:1] if recorder.n_calls == before else []
        for _name, attention in unseen:
            recorder.add(attention, None, None, "refused", _UNSEEN)
        recorder.settle(length)
        hidden = output[0] if isinstance(output, tuple) else output
        if keep and block is last[block.kind] and isinstance(hidden, Tensor):
            stream.left.setdefault(block.kind, []).append(hidden.detach())

    try:
        for block in found:
            pre = block.module.register_forward_pre_hook(enter(block), with_kwargs=True)
            handles += [pre, block.module.register_forward_hook(leave)]
        yield stream
    finally:
        for handle in handles:
            handle.remove()


def _holds_attention(module: nn.Module) -> bool:
    return any(_ATTENTION.search(type(m).__name__) for m in module.modules())
