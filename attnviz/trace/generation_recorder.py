"""The passes of a writing model, recorded as they come and put together as one reading."""

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

from attnviz.trace.decoding import Progress
from attnviz.trace.passes import Passes
from attnviz.trace.recorder import Call, Edit, Recorder
from attnviz.trace.structure import Block, Kind, Stream, kind_of

if TYPE_CHECKING:
    from attnviz.trace.model import Model


@dataclass(frozen=True)
class _Size:
    """How much one pass read.

    Attributes:
        rows: positions of the part that writes; None where nothing shows them.
        ids: the tokens that it was given; None if it was given embeddings.
    """

    rows: int | None
    ids: list[int] | None

    @property
    def is_whole(self) -> bool:
        """Whether it read everything anew: with a cache a pass reads one token."""
        return self.rows is not None and self.rows > 1


class GenerationRecorder:
    """What is recorded while a model writes.

    Attributes:
        passes: the attention calls of all passes.
    """

    def __init__(
        self, model: Model, recorder: Recorder, seen: Stream, writing: Progress, all_logits: bool
    ) -> None:
        self.passes = Passes(self._kind)
        self._model = model
        self._kinds: dict[int, Kind] = {}  # of the attention modules
        self._recorder = recorder
        self._seen = seen  # of the pass that runs
        # what each run of a block in a pass received, and what each tower gave, pass by pass
        self._entered: dict[tuple[int, int], tuple[Block, list[Tensor | None]]] = {}
        self._left: dict[tuple[str, int], list[Tensor]] = {}
        self._writing = writing
        self._all_logits = all_logits
        self._logits: list[Tensor] = []  # (n, vocabulary) each, or the last position's alone
        self._sizes: list[_Size] = []
        self._last: list[Call] = []
        self._depth = 0  # of the part that writes inside others that could
        self._given: list[int] | None = None

    def read(self, text: Sequence[int]) -> list[int]:
        """What of a text was read, and what the model itself put after it (XLNet, XLM)."""
        n = self._writing.n_first + len(self._sizes) - 1
        given = self._sizes[-1].ids
        longer = given is not None and self._sizes[-1].is_whole and given[:n] == list(text[:n])
        return given if longer and given is not None else list(text[:n])

    @property
    def logits(self) -> Tensor | None:
        """(n, vocabulary), or the last position's alone."""
        return torch.cat(self._logits) if self._logits else None

    @property
    def stream(self) -> Stream:
        """What each block received in all passes, one below the other."""
        unclear = self._seen.unclear
        left: dict[str, list[Tensor]] = {}
        for (tower, _), tensors in self._left.items():
            if tower not in unclear:
                left.setdefault(tower, []).append(torch.cat(tensors, dim=1))
        blocks = [block for block, _ in self._entered.values()]
        entered = [None if b.tower in unclear else _below(ts) for b, ts in self._entered.values()]
        return Stream(blocks, entered, left, unclear)

    def fits(self, text: Sequence[int]) -> bool:
        """Whether there is a row for each token read, and for what the model puts before them."""
        n = len(self.read(text))
        wholes = [i for i, size in enumerate(self._sizes) if size.is_whole]
        first = wholes[-1] if wholes else 0
        rows, passes = self._sizes[first].rows, len(self._sizes) - first
        if rows is not None:
            rows += passes - 1
            if rows < n:
                return False
            if self._all_logits and sum(len(t) for t in self._logits) not in (0, n, rows):
                return False
        # where one pass read it all, that is how the model reads a text
        return passes == 1 or all(self.passes.adds_up(c.index, passes) for c in self._last)

    def agrees(self, other: GenerationRecorder) -> bool:
        """Whether the other predicts the same next token: models may read a text in two ways."""
        if not self._logits or not other._logits:
            return True
        mine, theirs = (r._logits[-1][-1].float().softmax(-1) for r in (self, other))
        # rounding moves no probability by as much, in half precision either
        return float((mine - theirs).abs().max()) < 0.02

    def enter(self, part: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> Any:
        """A part that can write begins a pass."""
        # no kwargs: another thread's pass, which torch began to call as this hook was removed
        if kwargs is None or not self._recorder.is_active():
            return None
        self._depth += 1
        if self._depth > 1:
            return None
        ids = next((kwargs[k] for k in ("decoder_input_ids", "input_ids") if k in kwargs), None)
        self._given = ids[0].tolist() if isinstance(ids, Tensor) and ids.ndim == 2 else None
        if self._all_logits and "logits_to_keep" in inspect.signature(part.forward).parameters:
            return args, {**kwargs, "logits_to_keep": 0}
        return None

    def leave(self, part: nn.Module, args: Any, output: Any) -> None:
        """A part that can write has ended a pass."""
        if not self._recorder.is_active() or not self._depth:
            return
        self._depth -= 1
        if self._depth:
            return
        calls = self._recorder.end_pass()
        seen = self._seen
        stream = replace(seen, blocks=[*seen.blocks], entered=[*seen.entered], left={**seen.left})
        for of_this_pass in (seen.blocks, seen.entered, seen.left):
            of_this_pass.clear()
        if self._writing.over:
            return
        logits = getattr(output, "logits", None)
        logits = logits[0] if isinstance(logits, Tensor) else None
        self._last = [c for c in calls if self._kind(c.module) != "encoder"]
        size = _Size(self._rows(stream, logits), self._given)
        self._sizes.append(size)
        self.passes.add(calls)
        self._join(stream, size.is_whole)
        if logits is not None:
            if not self._all_logits:
                logits = logits[-1:].clone()
            if size.is_whole or not self._all_logits:
                self._logits.clear()
            self._logits.append(logits)

    def _rows(self, stream: Stream, logits: Tensor | None) -> int | None:
        seen = [c for c in self._last if c.layer is not None]
        own = [c for c in seen if self._kind(c.module) == "decoder"]
        for call in reversed(own or seen):
            assert call.layer is not None
            return call.layer.shape[2]
        pairs = zip(stream.blocks, stream.entered, strict=True)
        lengths = [t.shape[-2] for b, t in pairs if t is not None and b.kind != "encoder"]
        if lengths:
            return lengths[-1]
        return len(logits) if logits is not None and self._all_logits else None

    def _join(self, stream: Stream, whole: bool) -> None:
        ran: Counter[int] = Counter()
        anew = {b.tower: whole or b.kind == "encoder" for b in stream.blocks}
        for block, entered in zip(stream.blocks, stream.entered, strict=True):
            key = (id(block.module), ran[id(block.module)])
            ran[key[0]] += 1
            held = self._entered.setdefault(key, (block, []))[1]
            if anew[block.tower]:
                held.clear()
            held.append(entered)
        for tower, tensors in stream.left.items():
            for i, t in enumerate(tensors):
                passes = self._left.setdefault((tower, i), [])
                if anew.get(tower, whole):
                    passes.clear()
                passes.append(t)

    def _kind(self, attention: nn.Module) -> Kind:
        found = self._kinds.get(id(attention))
        if found is None:
            found = kind_of(self._model.module, self._model.name_of(attention), attention)
            self._kinds[id(attention)] = found
        return found


def _below(passes: Sequence[Tensor | None]) -> Tensor | None:
    """(B, n, d_model): the rows of all passes, if all were kept."""
    kept = [t for t in passes if t is not None]
    return torch.cat(kept, dim=1) if kept and len(kept) == len(passes) else None


@contextmanager
def recorded(
    model: Model, keep: Sequence[str], edits: Sequence[Edit], writing: Progress
) -> Iterator[GenerationRecorder]:
    """Records the passes made inside, whichever part of the model makes them."""
    # a generation is not run again for its receipt: it keeps its outputs
    recorder = Recorder(tuple(edits), keep_outputs=True)
    with (
        model.recording(recorder, 1, "residual" in keep) as stream,
        ExitStack() as hooks,
    ):
        run = GenerationRecorder(model, recorder, stream, writing, "logits" in keep)
        for part in model.module.modules():
            if isinstance(part, GenerationMixin):
                assert isinstance(part, nn.Module)
                hooks.callback(part.register_forward_pre_hook(run.enter, with_kwargs=True).remove)
                hooks.callback(part.register_forward_hook(run.leave).remove)
        yield run
        if run.passes.started:
            recorder.check_applied()
