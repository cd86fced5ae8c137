"""What a transformers module is made of: its blocks, and what kind of attention lies where."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from attnviz.trace import sparse
from attnviz.trace.block_inputs import BlockInputs
from attnviz.trace.layout import to_batch_first
from attnviz.trace.recorder import Call, Recorder

Kind = Literal["encoder", "decoder", "cross"]
Reads = Literal["text", "image", "other"]

_ATTENTION = re.compile(r"attention|attn|MLA$", re.IGNORECASE)
_OVERWRITTEN = "some of its blocks write to what enters them, and others do not"
_UNSEEN = "it has no softmax over keys that could be seen (sparse, hashed or linear attention)"
_CROSS = re.compile(
    r"cross|encoder_attn|encdecattention|encoder_decoder_attention|\wPerceiverAttention"
    r"|^visual_attention$",  # LXMERT's, between words and regions
    re.IGNORECASE,
)
# Modules whose positions are learned slots, whatever went in.
_SLOTS = re.compile(r"perceiver|resampler|q_?former|abstractor|connector|projector", re.IGNORECASE)
_SEES = re.compile(r"(vision|visual|visn|image)\w*|r_layers")  # r_layers: LXMERT's regions
_HEARS = re.compile(r"(audio|speech|video)\w*")


@dataclass(frozen=True)
class Block:
    """A layer of the residual stream: a named module, and the side of the model it is on.

    Attributes:
        tower: the path of the list that it is in. A model may have several, each with a stream of
            its own: a vision tower, a resampler and a language model.
    """

    name: str
    module: nn.Module
    kind: Kind
    tower: str


@dataclass
class Stream:
    """Block inputs and outputs of one forward pass, in the order in which the blocks ran.

    ``entered[i]`` is (B, n, d_model), what block i received, where that is kept; ``left`` is what
    the last block of a tower gave, pass by pass. Of a tower in ``unclear`` nothing is kept, and
    that says why.
    """

    blocks: list[Block] = field(default_factory=list)
    entered: list[Tensor | None] = field(default_factory=list)
    left: dict[str, list[Tensor]] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tower:
    """A stack of blocks with a residual stream of its own.

    Attributes:
        name: the path of the list that its blocks are in. kind: "encoder" or "decoder".
        points: (B, n, d_model) each: what entered its blocks, and what the last one left; empty
            where nothing was kept. reason: why not, where it could not be.
    """

    name: str
    kind: Kind
    points: tuple[Tensor, ...] = ()
    reason: str = ""


def towers(stream: Stream, layers: Sequence[tuple[str, Sequence[int]]] = ()) -> tuple[Tower, ...]:
    """A pass's towers, in the order in which they first ran.

    Args:
        layers: name and (B, H, n_q, n_k) of the self-attention that works on a whole text.
    """
    found: list[Tower] = []
    for name, kind in dict.fromkeys((b.tower, b.kind) for b in stream.blocks):
        pairs = zip(stream.blocks, stream.entered, strict=True)
        entered = [t for b, t in pairs if b.tower == name and t is not None]
        points = tuple(entered + stream.left.get(name, [])[-1:])
        reason = stream.unclear.get(name, "")
        seen = {shape[2] for layer, shape in layers if layer.startswith(f"{name}.")}
        if points and seen and points[0].shape[1] > max(seen):  # ProphetNet's n-gram streams
            n, n_q = points[0].shape[1], max(seen)
            reason = f"its blocks take {n} positions and their attention has {n_q} queries"
        found.append(Tower(name, kind, () if reason else points, reason))
    return tuple(found)


@dataclass(frozen=True)
class _Running:
    """A block that runs now.

    Attributes:
        before: how many calls had been seen. length: its positions. args, kwargs: what it was
            given. chance: the state of the random numbers, of the processor and of the device.
    """

    block: Block
    before: int
    length: int | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    chance: tuple[Tensor, Tensor | None]

    def read(self, call: Call, gave: Any) -> Call:
        """A refused call inside it, read by running it again; see `attnviz.trace.sparse`."""
        given = (*self.args, *self.kwargs.values())
        cached = any(isinstance(x, Cache) for x in given)
        return sparse.read(call, _hidden(self.args, self.kwargs), cached, self._again, gave)

    def _again(self) -> Any:
        """Runs it once more, without its hooks, and leaves the random numbers as they were."""
        hidden = _hidden(self.args, self.kwargs)
        ours, the_devices = self.chance
        devices = [] if the_devices is None else [hidden.device]
        with torch.random.fork_rng(devices=devices):
            torch.random.set_rng_state(ours)
            if the_devices is not None:
                torch.cuda.set_rng_state(the_devices, hidden.device)
            return self.block.module.forward(*self.args, **self.kwargs)


def side(module: PreTrainedModel, name: str) -> Kind:
    """Whether what is called ``name`` inside the model encodes or decodes."""
    if getattr(module.config, "is_encoder_decoder", False):
        # the outermost part decides: a decoder may be a BERT, whose layers are its "encoder"
        for part in name.split("."):
            if "decoder" in part:
                return "decoder"
            if "encoder" in part:
                return "encoder"
        return "decoder" if reads(module, name) == "text" else "encoder"
    return "decoder" if is_causal_lm(module) and reads(module, name) == "text" else "encoder"


def reads(module: PreTrainedModel, name: str) -> Reads:
    """What the positions of the tower that holds ``name`` are: of a text, an image, or others.

    Others are frames of sound, or learned slots (a resampler's, a Q-Former's).
    """
    inside: list[nn.Module] = [module]
    for part in name.split("."):
        child = inside[-1]._modules.get(part)
        if child is None:
            break
        inside.append(child)
    if any(_SLOTS.search(type(m).__name__) for m in inside):
        return "other"
    parts = name.removeprefix(f"{module.base_model_prefix}.").split(".")
    for pattern, found in ((_SEES, "image"), (_HEARS, "other")):
        if any(pattern.fullmatch(part) for part in parts):
            return found  # type: ignore[return-value]
    for owner in reversed(inside):
        if not isinstance(owner, PreTrainedModel):
            continue
        given = inspect.signature(owner.forward).parameters
        if ("input_ids" in given) != ("pixel_values" in given):
            return "text" if "input_ids" in given else "image"
        takes = owner.input_modalities
        if "text" not in takes:
            return "image" if "image" in takes else "other"
    return "text"


def is_causal_lm(module: PreTrainedModel) -> bool:
    """Whether the model continues text."""
    if getattr(module.config, "is_encoder_decoder", False):
        return False
    if getattr(module.config, "is_decoder", False):
        return True
    name = type(module).__name__
    if name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Text2Text")):
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
            if isinstance(child, nn.ModuleList) and any(map(_holds_attention, child)):
                stack(child, path)
            else:
                visit(child, f"{path}.")

    def stack(members: nn.ModuleList, path: str) -> None:
        for i, member in enumerate(members):
            label = f"{path}.{i}"
            if isinstance(member, nn.ModuleList):  # a stage, which has a stream of its own
                stack(member, label)
            elif member is not None:
                found.append(Block(label, member, side(module, label), path))

    visit(module, "")
    return found


def attention_inside(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """The innermost modules of a block that are attention by name."""
    named = [(n, m) for n, m in block.named_modules() if _ATTENTION.search(type(m).__name__)]
    return [(n, m) for n, m in named if not any(o.startswith(f"{n}.") for o, _ in named if o != n)]


@contextmanager
def stream_of(
    module: PreTrainedModel, recorder: Recorder, batch: int, keep: bool
) -> Iterator[Stream]:
    """Notes what enters and leaves each block while ``recorder`` is active in this thread.

    The hooks live as long as the ``with`` block and ignore other threads' passes.

    Args:
        batch: items of the input, by which the axes of the tensors are told apart.
        keep: whether the tensors are kept, or only the order of the blocks.
    """
    stream = Stream()
    running: list[_Running] = []
    handles = []
    found = blocks(module)
    last = {b.tower: b for b in found}
    texts: dict[str, bool] = {}  # whether a tower reads text
    inputs = BlockInputs()

    def kept(block: Block, hidden: Tensor) -> Tensor | None:
        """(B, n, d_model), or None and the reason noted."""
        if block.tower in stream.unclear:
            return None
        if block.tower not in texts:
            texts[block.tower] = reads(module, block.name) == "text"
        items = batch if texts[block.tower] else None
        laid = to_batch_first(hidden, items, block.module, module.config)
        if isinstance(laid, str):
            stream.unclear[block.tower] = laid
            return None
        return laid

    def enter(block: Block) -> Any:
        # no kwargs: another thread's pass, which torch began to call as this hook was removed
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
            if kwargs is None or not recorder.is_active():
                return
            recorder.finish_block()
            hidden = _hidden(args, kwargs)
            length, entered = None, None
            if isinstance(hidden, Tensor) and hidden.ndim > 2:
                length = hidden.shape[1:-1].numel()
                entered = kept(block, inputs.taken(block.module, hidden)) if keep else None
            on_device = isinstance(hidden, Tensor) and hidden.is_cuda
            device = torch.cuda.get_rng_state(hidden.device) if on_device else None
            chance = (torch.random.get_rng_state(), device)
            running.append(_Running(block, recorder.n_calls, length, args, kwargs, chance))
            stream.blocks.append(block)
            stream.entered.append(entered)

        return hook

    def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not recorder.is_active() or not running:
            return
        now = running.pop()
        block = now.block
        recorder.before_finish()
        unseen = attention_inside(block.module)[:1] if recorder.n_calls == now.before else []
        for _name, attention in unseen:
            recorder.add(attention, None, None, "refused", _UNSEEN)
        recorder.finish_block(now.length, lambda call: now.read(call, output))
        hidden = output[0] if isinstance(output, tuple | list) else output
        if keep and block is last[block.tower] and isinstance(hidden, Tensor):
            left = kept(block, hidden.detach())
            if left is not None:
                stream.left.setdefault(block.tower, []).append(left)

    try:
        for block in found:
            pre = block.module.register_forward_pre_hook(enter(block), with_kwargs=True)
            handles += [pre, block.module.register_forward_hook(leave)]
        yield stream
        if inputs.overwritten():
            stream.unclear |= {b.tower: _OVERWRITTEN for b in found}
    finally:
        for handle in handles:
            handle.remove()


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The stream among what a block is given."""
    return kwargs.get("hidden_states", args[0] if args else None)


def _holds_attention(module: nn.Module | None) -> bool:
    """Whether attention is inside; Informer's list of convolutions ends with a None."""
    return module is not None and any(_ATTENTION.search(type(m).__name__) for m in module.modules())
