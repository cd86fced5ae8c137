"""The residual stream: the input of each block, and the output of the last one.

A model may have several stacks of blocks ("towers"), each with a residual stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from attnviz.trace import sparse
from attnviz.trace.block_inputs import BlockInputs
from attnviz.trace.call import Call
from attnviz.trace.recorder import Recorder
from attnviz.trace.stream_axes import to_batch_first
from attnviz.trace.structure import Block, Kind, attention_inside, blocks, modality_of

_OVERWRITTEN = "some of its blocks write to what enters them, and others do not"
_NO_SOFTMAX = "it has no softmax over keys that could be seen (sparse, hashed or linear attention)"


@dataclass
class Stream:
    """Block inputs and outputs of one forward pass, in the order in which the blocks ran.

    Attributes:
        inputs: (B, n, d_model) each, one per block; None where it is not kept.
        outputs: for each tower the outputs of its last block, one per run.
        refused: for each tower of which nothing is kept, the reason.
    """

    blocks: list[Block] = field(default_factory=list)
    inputs: list[Tensor | None] = field(default_factory=list)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tower:
    """A stack of blocks with a residual stream of its own.

    Attributes:
        name: the path of the list that holds its blocks. kind: "encoder" or "decoder".
        points: (B, n, d_model) each: the inputs of its blocks, and the output of the last one;
            empty if nothing was kept. reason: why not, if that was impossible.
    """

    name: str
    kind: Kind
    points: tuple[Tensor, ...] = ()
    reason: str = ""


def towers(stream: Stream, layers: Sequence[tuple[str, Sequence[int]]] = ()) -> tuple[Tower, ...]:
    """The towers of a pass, in the order in which they first ran.

    Args:
        layers: name and (B, H, n_q, n_k) of the self-attention layers that see a whole text.
    """
    found: list[Tower] = []
    for name, kind in dict.fromkeys((b.tower, b.kind) for b in stream.blocks):
        pairs = zip(stream.blocks, stream.inputs, strict=True)
        inputs = [t for b, t in pairs if b.tower == name and t is not None]
        points = tuple(inputs + stream.outputs.get(name, [])[-1:])
        reason = stream.refused.get(name, "")
        n_queries = {shape[2] for layer, shape in layers if layer.startswith(f"{name}.")}
        if points and n_queries and points[0].shape[1] > max(n_queries):  # ProphetNet's n-grams
            n, n_q = points[0].shape[1], max(n_queries)
            reason = f"its blocks take {n} positions and their attention has {n_q} queries"
        found.append(Tower(name, kind, () if reason else points, reason))
    return tuple(found)


@contextmanager
def recording_stream(
    module: PreTrainedModel, recorder: Recorder, batch: int, keep: bool
) -> Iterator[Stream]:
    """Records what enters and leaves each block while ``recorder`` is active in this thread.

    The hooks exist only inside the ``with`` block and ignore the passes of other threads.

    Args:
        batch: items of the input, which tell the axes of the tensors apart.
        keep: whether the tensors are kept, or only the order of the blocks.
    """
    found = blocks(module)
    hooks = _StreamHooks(module, recorder, batch, keep, {b.tower: b for b in found})
    handles = []
    try:
        for block in found:
            enter = block.module.register_forward_pre_hook(hooks.enter(block), with_kwargs=True)
            handles += [enter, block.module.register_forward_hook(hooks.leave)]
        yield hooks.stream
        if hooks.inputs.overwritten():
            hooks.stream.refused |= {b.tower: _OVERWRITTEN for b in found}
    finally:
        for handle in handles:
            handle.remove()


class _StreamHooks:
    """The forward hooks of a model's blocks.

    Args:
        last_blocks: the last block of each tower.
    """

    def __init__(
        self, module: PreTrainedModel, recorder: Recorder, batch: int, keep: bool,
        last_blocks: dict[str, Block],
    ) -> None:  # fmt: skip
        self.stream = Stream()
        self.inputs = BlockInputs()
        self._module = module
        self._recorder = recorder
        self._batch = batch
        self._keep = keep
        self._last_blocks = last_blocks
        self._running: list[_RunningBlock] = []
        self._reads_text: dict[str, bool] = {}  # of each tower

    def enter(self, block: Block) -> Callable[..., None]:
        """The hook before a block."""

        # no kwargs: a pass of another thread that torch had begun to call as the hook was removed
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
            if kwargs is None or not self._recorder.is_active():
                return
            self._recorder.finish_block()
            hidden = _hidden_states(args, kwargs)
            length, block_input = None, None
            if isinstance(hidden, Tensor) and hidden.ndim > 2:
                length = hidden.shape[1:-1].numel()
                if self._keep:
                    block_input = self._laid_out(block, self.inputs.capture(block.module, hidden))
            on_gpu = isinstance(hidden, Tensor) and hidden.is_cuda
            gpu_state = torch.cuda.get_rng_state(hidden.device) if on_gpu else None
            rng_state = (torch.random.get_rng_state(), gpu_state)
            self._running.append(
                _RunningBlock(block, self._recorder.n_calls, length, args, kwargs, rng_state)
            )
            self.stream.blocks.append(block)
            self.stream.inputs.append(block_input)

        return hook

    def leave(self, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """The hook after a block."""
        if not self._recorder.is_active() or not self._running:
            return
        running = self._running.pop()
        block = running.block
        self._recorder.before_finish()
        if self._recorder.n_calls == running.n_calls_before:
            for _name, attention in attention_inside(block.module)[:1]:
                self._recorder.add(attention, None, None, "refused", _NO_SOFTMAX)
        self._recorder.finish_block(running.length, lambda call: running.recover(call, output))
        hidden = output[0] if isinstance(output, tuple | list) else output
        is_last = block is self._last_blocks[block.tower]
        if self._keep and is_last and isinstance(hidden, Tensor):
            block_output = self._laid_out(block, hidden.detach())
            if block_output is not None:
                self.stream.outputs.setdefault(block.tower, []).append(block_output)

    def _laid_out(self, block: Block, hidden: Tensor) -> Tensor | None:
        """(B, n, d_model); None, with the reason noted, if that is impossible."""
        tower = block.tower
        if tower in self.stream.refused:
            return None
        if tower not in self._reads_text:
            self._reads_text[tower] = modality_of(self._module, block.name) == "text"
        batch = self._batch if self._reads_text[tower] else None
        laid_out = to_batch_first(hidden, batch, block.module, self._module.config)
        if isinstance(laid_out, str):
            self.stream.refused[tower] = laid_out
            return None
        return laid_out


@dataclass(frozen=True)
class _RunningBlock:
    """A block that is running.

    Attributes:
        n_calls_before: attention calls seen before it. length: its positions.
        args, kwargs: its arguments. rng_state: of the CPU and of its GPU.
    """

    block: Block
    n_calls_before: int
    length: int | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rng_state: tuple[Tensor, Tensor | None]

    def recover(self, call: Call, output: Any) -> Call:
        """Reads a refused call by running the block again; see `attnviz.trace.sparse`."""
        given = (*self.args, *self.kwargs.values())
        has_cache = any(isinstance(x, Cache) for x in given)
        hidden = _hidden_states(self.args, self.kwargs)
        return sparse.recover(call, hidden, has_cache, self._run_again, output)

    def _run_again(self) -> Any:
        """Runs the block again, without its hooks and with the same random numbers."""
        hidden = _hidden_states(self.args, self.kwargs)
        cpu_state, gpu_state = self.rng_state
        devices = [] if gpu_state is None else [hidden.device]
        with torch.random.fork_rng(devices=devices):
            torch.random.set_rng_state(cpu_state)
            if gpu_state is not None:
                torch.cuda.set_rng_state(gpu_state, hidden.device)
            return self.block.module.forward(*self.args, **self.kwargs)


def _hidden_states(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The residual stream among a block's arguments."""
    return kwargs.get("hidden_states", args[0] if args else None)
