"""Recording a forward pass without touching the model.

transformers sends every attention call of its models through ``AttentionInterface``. Importing
this module puts a step in front of that look-up: while a `Recorder` is active in the running
thread's context, the function that is found is wrapped; otherwise it is returned as it is. The
model's config, mode, weights and attention implementation are never changed, and other threads
that use the same model at the same time see nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from attnviz.errors import AttnVizError
from attnviz.trace.call_grouping import belongs_to, group_calls
from attnviz.trace.call_interpreter import CallInterpreter, Source
from attnviz.trace.compute import LayerRecord, QKVRecord
from attnviz.trace.edited import EditedRecord, HeadChange, applied
from attnviz.trace.fidelity import UNCHECKED, Checks
from attnviz.trace.probe import AttentionFunction, Dispatch, ProbeResult

_ACTIVE: ContextVar[Recorder | None] = ContextVar("attnviz_recorder", default=None)


@dataclass(frozen=True)
class Call:
    """One attention call of one forward pass.

    Attributes:
        module: the attention module, or the module in whose forward it was seen.
        layer: what was kept, or None if refused.
        own: (B, n_q, H, d_v) the layer's own output, where it was seen and kept.
        source, reason: how `layer` came about, and why not exactly.
        windows: how many windows each item was split into (then B counts windows).
        index: the layer, counted in the order in which the layers first ran.
        checks: what was compared while recording.
        asked: what the layer's own function made of random values in all rows, for a
            `LayerObserver`.
        run: tells the runs of a module apart that runs several times in one block.
    """

    module: nn.Module
    layer: LayerRecord | None
    own: Tensor | None
    source: Source
    reason: str = ""
    windows: int = 1
    index: int = -1
    checks: Checks = UNCHECKED
    asked: ProbeResult | None = None
    run: int = 0


class LayerObserver(Protocol):
    """Is shown each layer's own output, and what its function made of random values, as it runs."""

    def wants(self, index: int) -> bool:
        """Whether it has a use for this layer."""
        ...

    def see(self, index: int, own: Tensor, asked: ProbeResult | None) -> None:
        """One layer's."""
        ...


class Edit(Protocol):
    """An intervention, as the recorder applies it to the calls of one layer."""

    layer: int

    def change(self, layer: QKVRecord | EditedRecord, output: Tensor) -> HeadChange:
        """What it changes of the layer, whose output is (B, n_q, H, d_v)."""
        ...


class Recorder:
    """Collects the attention calls and block inputs of the forward passes made inside it.

    Args:
        edits: interventions, applied to the calls they name.
        keep_outputs: keep each layer's own output, so that a receipt needs no second pass.
        observer: is shown what each layer did instead; then nothing is kept.
    """

    def __init__(
        self,
        edits: tuple[Edit, ...] = (),
        keep_outputs: bool = False,
        observer: LayerObserver | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.edits = edits
        self._keep_outputs = keep_outputs
        self._observer = observer
        self.before_finish: Callable[[], None] = lambda: None
        self.inside = False  # within a dispatched call, whose insides are not looked at again
        self._open: list[Call] = []  # of the block that is running
        self._layers: dict[tuple[int, int], int] = {}
        self._ran: dict[int, int] = {}
        self._interpreter = CallInterpreter()

    @contextmanager
    def active(self) -> Iterator[Recorder]:
        """Records what this thread runs inside the block."""
        token = _ACTIVE.set(self)
        try:
            yield self
            self.finish_block()
        finally:
            _ACTIVE.reset(token)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Does not record what this thread runs inside the block."""
        token = _ACTIVE.set(None)
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    def is_active(self) -> bool:
        """Whether the running thread records with this recorder."""
        return _ACTIVE.get() is self

    def end_pass(self) -> list[Call]:
        """One forward pass of a generation has ended: its calls, which are not held here any more.

        The layers of the next pass are those seen before; masks that they shared are let go.
        """
        self.finish_block()
        self._ran.clear()
        self._interpreter = CallInterpreter()
        calls, self.calls = self.calls, []
        return calls

    def add(
        self,
        module: nn.Module,
        layer: LayerRecord | None,
        own: Tensor | None,
        source: Source,
        reason: str = "",
        windows: int = 1,
        checks: Checks = UNCHECKED,
        asked: ProbeResult | None = None,
        run: int = 0,
    ) -> None:
        """Notes one attention call."""
        if not self._keep_outputs and self._observer is None:
            own = None  # nobody will ask: it need not outlive the call while the block goes on
        call = Call(module, layer, own, source, reason, windows, -1, checks, asked, run)
        self._open.append(call)

    def finish_block(
        self, length: int | None = None, read: Callable[[Call], Call] = lambda call: call
    ) -> None:
        """Makes layers of the calls of a block that has ended.

        Args:
            length: how many positions entered the block. read: tries a refused call in another way.
        """
        self.before_finish()
        calls, self._open = self._open, []
        for call in group_calls(calls, length):
            if call.source == "refused" and self._observer is None:
                with self._paused():
                    call = read(call)
            index = self._index(call.module)
            self._ran[id(call.module)] = self._ran.get(id(call.module), 0) + 1
            self._check_edited(index, call)
            own = call.own
            if self._observer is not None:
                if own is not None and self._observer.wants(index):
                    self._observer.see(index, own, call.asked)
                call = replace(call, layer=None, asked=None)
            kept = own if self._keep_outputs else None
            self.calls.append(replace(call, own=kept, index=index))

    @property
    def n_calls(self) -> int:
        """How many calls were seen so far."""
        return len(self.calls) + len(self._open)

    def _index(self, module: nn.Module) -> int:
        """The layer that the module's next is: one that runs twice in a pass is two layers."""
        nth = self._ran.get(id(module), 0)
        return self._layers.setdefault((id(module), nth), len(self._layers))

    def _next_index(self, module: nn.Module, query: Tensor, key: Tensor) -> int:
        """The layer that a call now belongs to."""
        goes_on = bool(self._open) and belongs_to(self._open[-1], module, query, key)
        before = [call.module for call in group_calls(self._open, None)]
        before = before[:-1] if goes_on else before
        nth = self._ran.get(id(module), 0) + sum(m is module for m in before)
        # known from an earlier pass of a generation, or the next one
        return self._layers.get((id(module), nth), len(self._layers) + len(before))

    def check_applied(self) -> None:
        """Refuses an edit of a layer that never ran."""
        n = len(self._layers)
        for edit in self.edits:
            if not 0 <= edit.layer < n:
                raise AttnVizError(
                    f"There is no layer {edit.layer} to edit.",
                    f"They run from 0 to {n - 1}." if n else "The model has none.",
                )

    def _check_edited(self, index: int, call: Call) -> None:
        if any(edit.layer == index for edit in self.edits) and not isinstance(
            call.layer, EditedRecord
        ):
            raise AttnVizError(
                f"Layer {index} cannot be edited: {call.reason or 'it is outside the interface'}.",
                "Edit a layer whose source is exact.",
            )

    def attend(self, call: Dispatch) -> tuple[Tensor, Tensor | None]:
        """Runs a layer's attention as the model would, and keeps what entered it."""
        index = -1
        if self.edits or self._observer is not None:
            index = self._next_index(call.module, call.query, call.key)
        asked = None
        self.inside = True
        try:
            output, weights = call.run()
            found = self._interpreter.read(call, output, weights)
            if self._observer is not None and self._observer.wants(index):
                asked = self._interpreter.ask(call, all_rows=True)
        finally:
            self.inside = False
        layer: LayerRecord | None = found.layer
        for edit in self.edits:
            if edit.layer == index and isinstance(layer, QKVRecord | EditedRecord):
                layer, output = applied(edit.change(layer, output), layer, output)
        own = output if layer is not None else None
        self.add(
            call.module, layer, own, found.source, found.reason, checks=found.checks, asked=asked
        )
        return output, weights


# How transformers' attention functions name what may be passed to them by position.
_POSITIONAL = ("query", "key", "value", "attention_mask", "dropout", "scaling")

_found = AttentionInterface.get_interface


def _find(
    self: AttentionInterface, attn_implementation: str, default: AttentionFunction
) -> AttentionFunction:
    function = _found(self, attn_implementation, default)
    if torch.compiler.is_compiling():  # a compiler cannot follow the look-up below
        return function
    recorder = _ACTIVE.get()
    if recorder is None:
        return function

    def recorded(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        options = {**dict(zip(_POSITIONAL, args, strict=False)), **kwargs}
        query, key, value = (options.pop(name) for name in _POSITIONAL[:3])
        mask = options.pop("attention_mask", None)
        name = attn_implementation or "eager"
        return recorder.attend(
            Dispatch(name, function, default, module, query, key, value, mask, options)
        )

    return recorded


AttentionInterface.get_interface = _find  # type: ignore[method-assign]
