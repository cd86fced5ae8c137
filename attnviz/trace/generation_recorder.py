"""Recording a generation: its forward passes, put together as if one pass had read the text."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin

from attnviz.trace.call import Call
from attnviz.trace.decoding import GenerationState
from attnviz.trace.passes import Passes
from attnviz.trace.recorder import Edit, Recorder
from attnviz.trace.residual_stream import Stream
from attnviz.trace.session import recording
from attnviz.trace.structure import Block, Kind, kind_of

if TYPE_CHECKING:
    from attnviz.trace.model import Model

# Two predictions whose probabilities differ by less are the same, in half precision too.
_SAME_PROBABILITY = 0.02


@dataclass(frozen=True)
class _PassSize:
    """How much one pass read.

    Attributes:
        rows: positions of the part that generates; None if nothing shows them.
        ids: its input tokens; None if its input was embeddings.
    """

    rows: int | None
    ids: list[int] | None

    @property
    def is_whole(self) -> bool:
        """Whether it read the whole text: with a cache, a pass reads one token."""
        return self.rows is not None and self.rows > 1


class GenerationRecorder:
    """Collects the passes of a generation: attention calls, residual stream and logits.

    Args:
        stream: the residual stream of the running pass.
        all_logits: keep those of every position, not only the last one.

    Attributes:
        passes: the attention calls of all passes.
    """

    def __init__(
        self,
        model: Model,
        recorder: Recorder,
        stream: Stream,
        state: GenerationState,
        all_logits: bool,
    ) -> None:
        self.passes = Passes(self._kind)
        self._model = model
        self._kinds: dict[int, Kind] = {}  # of the attention modules
        self._recorder = recorder
        self._running = stream
        # the inputs of each run of a block in a pass, and the outputs of each tower, pass by pass
        self._inputs: dict[tuple[int, int], tuple[Block, list[Tensor | None]]] = {}
        self._outputs: dict[tuple[str, int], list[Tensor]] = {}
        self._state = state
        self._all_logits = all_logits
        self._logits: list[Tensor] = []  # (n, vocabulary) each, or the last position's alone
        self._sizes: list[_PassSize] = []
        self._last_calls: list[Call] = []  # of the last pass, without the encoder's
        self._depth = 0  # nested parts that can generate
        self._input_ids: list[int] | None = None

    def tokens_read(self, text: Sequence[int]) -> list[int]:
        """The tokens of a text that were read, and those that the model appends (XLNet, XLM)."""
        n = self._state.n_prompt + len(self._sizes) - 1
        ids, is_whole = self._sizes[-1].ids, self._sizes[-1].is_whole
        if ids is not None and is_whole and ids[:n] == list(text[:n]):
            return ids
        return list(text[:n])

    @property
    def logits(self) -> Tensor | None:
        """(n, vocabulary), or the last position's alone."""
        return torch.cat(self._logits) if self._logits else None

    @property
    def stream(self) -> Stream:
        """The residual stream of all passes, concatenated."""
        refused = self._running.refused
        outputs: dict[str, list[Tensor]] = {}
        for (tower, _), tensors in self._outputs.items():
            if tower not in refused:
                outputs.setdefault(tower, []).append(torch.cat(tensors, dim=1))
        blocks = [block for block, _ in self._inputs.values()]
        inputs = [
            None if block.tower in refused else _concat(tensors)
            for block, tensors in self._inputs.values()
        ]
        return Stream(blocks, inputs, outputs, refused)

    def covers(self, text: Sequence[int]) -> bool:
        """Whether there is a row for each token that was read, appended ones included."""
        n = len(self.tokens_read(text))
        wholes = [i for i, size in enumerate(self._sizes) if size.is_whole]
        first = wholes[-1] if wholes else 0
        rows, passes = self._sizes[first].rows, len(self._sizes) - first
        if rows is not None:
            rows += passes - 1
            if rows < n:
                return False
            if self._all_logits and sum(len(t) for t in self._logits) not in (0, n, rows):
                return False
        # a single pass that read the text is how the model reads it
        return passes == 1 or all(self.passes.adds_up(c.index, passes) for c in self._last_calls)

    def agrees(self, other: GenerationRecorder) -> bool:
        """Whether both predict the same next token: some models read a text in two ways."""
        if not self._logits or not other._logits:
            return True
        a, b = (r._logits[-1][-1].float().softmax(-1) for r in (self, other))
        return float((a - b).abs().max()) < _SAME_PROBABILITY

    def before_forward(
        self, part: nn.Module, args: Any, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The hook before a pass of a part that can generate."""
        # no kwargs: a pass of another thread that torch had begun to call as the hook was removed
        if kwargs is None or not self._recorder.is_active():
            return None
        self._depth += 1
        if self._depth > 1:
            return None
        ids = next((kwargs[k] for k in ("decoder_input_ids", "input_ids") if k in kwargs), None)
        self._input_ids = ids[0].tolist() if isinstance(ids, Tensor) and ids.ndim == 2 else None
        if self._all_logits and "logits_to_keep" in inspect.signature(part.forward).parameters:
            return args, {**kwargs, "logits_to_keep": 0}
        return None

    def after_forward(self, part: nn.Module, args: Any, output: Any) -> None:
        """The hook after a pass of a part that can generate."""
        if not self._recorder.is_active() or not self._depth:
            return
        self._depth -= 1
        if self._depth:
            return
        calls = self._recorder.end_pass()
        stream = self._take_stream()
        if self._state.finished:
            return
        logits = getattr(output, "logits", None)
        logits = logits[0] if isinstance(logits, Tensor) else None
        self._last_calls = [c for c in calls if self._kind(c.module) != "encoder"]
        size = _PassSize(self._n_rows(stream, logits), self._input_ids)
        self._sizes.append(size)
        self.passes.add(calls)
        self._append_stream(stream, size.is_whole)
        if logits is not None:
            if not self._all_logits:
                logits = logits[-1:].clone()
            if size.is_whole or not self._all_logits:
                self._logits.clear()
            self._logits.append(logits)

    def _take_stream(self) -> Stream:
        """The stream of the pass that has ended; the running one starts empty again."""
        running = self._running
        stream = replace(
            running,
            blocks=[*running.blocks],
            inputs=[*running.inputs],
            outputs={**running.outputs},
        )
        for of_this_pass in (running.blocks, running.inputs, running.outputs):
            of_this_pass.clear()
        return stream

    def _n_rows(self, stream: Stream, logits: Tensor | None) -> int | None:
        """How many positions the last pass read."""
        shown = [c for c in self._last_calls if c.layer is not None]
        self_attention = [c for c in shown if self._kind(c.module) == "decoder"]
        for call in reversed(self_attention or shown):
            assert call.layer is not None
            return call.layer.shape[2]
        pairs = zip(stream.blocks, stream.inputs, strict=True)
        lengths = [t.shape[-2] for b, t in pairs if t is not None and b.kind != "encoder"]
        if lengths:
            return lengths[-1]
        return len(logits) if logits is not None and self._all_logits else None

    def _append_stream(self, stream: Stream, is_whole: bool) -> None:
        """Appends the stream of one pass; a pass that read the whole text replaces the earlier."""
        runs: Counter[int] = Counter()
        replaces = {b.tower: is_whole or b.kind == "encoder" for b in stream.blocks}
        for block, block_input in zip(stream.blocks, stream.inputs, strict=True):
            key = (id(block.module), runs[id(block.module)])
            runs[key[0]] += 1
            inputs = self._inputs.setdefault(key, (block, []))[1]
            if replaces[block.tower]:
                inputs.clear()
            inputs.append(block_input)
        for tower, tensors in stream.outputs.items():
            for i, t in enumerate(tensors):
                outputs = self._outputs.setdefault((tower, i), [])
                if replaces.get(tower, is_whole):
                    outputs.clear()
                outputs.append(t)

    def _kind(self, attention: nn.Module) -> Kind:
        kind = self._kinds.get(id(attention))
        if kind is None:
            kind = kind_of(self._model.module, self._model.name_of(attention), attention)
            self._kinds[id(attention)] = kind
        return kind


def _concat(passes: Sequence[Tensor | None]) -> Tensor | None:
    """(B, n, d_model): the rows of all passes; None if some were not kept."""
    kept = [t for t in passes if t is not None]
    return torch.cat(kept, dim=1) if kept and len(kept) == len(passes) else None


@contextmanager
def recording_generation(
    model: Model, keep: Sequence[str], edits: Sequence[Edit], state: GenerationState
) -> Iterator[GenerationRecorder]:
    """Records the passes made inside, whichever part of the model makes them."""
    # a generation can't be run again for its receipt, so it keeps its outputs
    recorder = Recorder(tuple(edits), keep_outputs=True)
    with (
        recording(model.module, recorder, 1, "residual" in keep) as stream,
        ExitStack() as hooks,
    ):
        generation = GenerationRecorder(model, recorder, stream, state, "logits" in keep)
        for part in model.module.modules():
            if isinstance(part, GenerationMixin):
                assert isinstance(part, nn.Module)
                before = part.register_forward_pre_hook(generation.before_forward, with_kwargs=True)
                hooks.callback(before.remove)
                hooks.callback(part.register_forward_hook(generation.after_forward).remove)
        yield generation
        if generation.passes.started:
            recorder.check_applied()
