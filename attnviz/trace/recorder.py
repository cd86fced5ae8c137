"""Recording a forward pass without touching the model.

transformers sends every attention call of its models through ``AttentionInterface``. Importing
this module adds a step to that lookup: while a `Recorder` is active in the running thread's
context, the function found is wrapped; otherwise it is returned as it is. The model's config, mode,
weights and attention implementation never change, and other threads that use the same model at the
same time are unaffected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from attnviz.errors import AttnVizError
from attnviz.trace.call import Call, Source
from attnviz.trace.call_grouping import continues_layer, group_calls
from attnviz.trace.call_interpreter import CallInterpreter
from attnviz.trace.dispatch import AttentionFunction, Dispatch
from attnviz.trace.edited import EditedRecord, HeadChange, apply_change
from attnviz.trace.fidelity import UNCHECKED, Checks
from attnviz.trace.probe import ProbeResult
from attnviz.trace.records import LayerRecord, QKVRecord

_ACTIVE: ContextVar[Recorder | None] = ContextVar("attnviz_recorder", default=None)


class LayerObserver(Protocol):
    """Receives each layer's own output and its probe, as the layer runs."""

    def needs(self, index: int) -> bool:
        """Whether it needs this layer."""
        ...

    def observe(self, index: int, own: Tensor, probe: ProbeResult | None) -> None:
        """Receives one layer."""
        ...


class Edit(Protocol):
    """An intervention, as the recorder applies it to the calls of one layer."""

    @property
    def layer(self) -> int:
        """The index of the layer that it acts on."""
        ...

    def change(self, layer: QKVRecord | EditedRecord, output: Tensor) -> HeadChange:
        """What it changes in the layer, whose output is (B, n_q, H, d_v)."""
        ...


class Recorder:
    """Collects the attention calls of the forward passes that run inside it.

    Args:
        edits: interventions, applied to the layers they name.
        keep_outputs: keep each layer's own output, so that a receipt needs no second pass.
        observer: receives the layers as they run; then no records are kept.
        on_layer: called after each layer with the number of layers so far. What it raises ends the
            forward pass.

    Attributes:
        calls: one per layer, in order.
        inside: whether a dispatched call is running, whose operations are not recorded again.
        before_finish: called before the calls of a block are grouped into layers.
    """

    def __init__(
        self,
        edits: tuple[Edit, ...] = (),
        keep_outputs: bool = False,
        observer: LayerObserver | None = None,
        on_layer: Callable[[int], None] = lambda n_layers: None,
    ) -> None:
        self.calls: list[Call] = []
        self.edits = edits
        self.inside = False
        self.before_finish: Callable[[], None] = lambda: None
        self._keep_outputs = keep_outputs
        self._observer = observer
        self._on_layer = on_layer
        self._open: list[Call] = []  # calls of the running block
        self._layers: dict[tuple[int, int], int] = {}  # (module id, its nth run in a pass): index
        self._run_counts: dict[int, int] = {}  # of each module in this pass
        self._interpreter = CallInterpreter()

    @contextmanager
    def active(self) -> Iterator[Recorder]:
        """Records what this thread runs inside the ``with`` block."""
        token = _ACTIVE.set(self)
        try:
            yield self
            self.finish_block()
        finally:
            _ACTIVE.reset(token)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Doesn't record what this thread runs inside the ``with`` block."""
        token = _ACTIVE.set(None)
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    def is_active(self) -> bool:
        """Whether the running thread records with this recorder."""
        return _ACTIVE.get() is self

    def end_pass(self) -> list[Call]:
        """Ends one forward pass of a generation and returns its calls.

        The layers of the next pass get the same indices; cached masks are released.
        """
        self.finish_block()
        self._run_counts.clear()
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
        probe: ProbeResult | None = None,
        run: int = 0,
    ) -> None:
        """Adds one attention call."""
        if not self._keep_outputs and self._observer is None:
            own = None  # not needed, so it need not stay in memory while the block runs
        call = Call(module, layer, own, source, reason, windows, -1, checks, probe, run)
        self._open.append(call)

    def finish_block(
        self, length: int | None = None, recover: Callable[[Call], Call] = lambda call: call
    ) -> None:
        """Groups the calls of a block that has ended into layers.

        Args:
            length: how many positions entered the block. recover: tries to read a refused call in
                another way.
        """
        self.before_finish()
        calls, self._open = self._open, []
        for call in group_calls(calls, length):
            if call.source == "refused" and self._observer is None:
                with self._paused():
                    call = recover(call)
            index = self._index(call.module)
            self._run_counts[id(call.module)] = self._run_counts.get(id(call.module), 0) + 1
            self._check_edited(index, call)
            own = call.own
            if self._observer is not None:
                if own is not None and self._observer.needs(index):
                    self._observer.observe(index, own, call.probe)
                call = replace(call, layer=None, probe=None)
            kept = own if self._keep_outputs else None
            self.calls.append(replace(call, own=kept, index=index))
            self._on_layer(len(self.calls))

    @property
    def n_calls(self) -> int:
        """How many calls were seen so far."""
        return len(self.calls) + len(self._open)

    def _index(self, module: nn.Module) -> int:
        """The layer index of a module's next run: a module that runs twice is two layers."""
        nth = self._run_counts.get(id(module), 0)
        return self._layers.setdefault((id(module), nth), len(self._layers))

    def _next_index(self, module: nn.Module, query: Tensor, key: Tensor) -> int:
        """The layer index of a call that is about to run."""
        continues = bool(self._open) and continues_layer(self._open[-1], module, query, key)
        before = [call.module for call in group_calls(self._open, None)]
        before = before[:-1] if continues else before
        nth = self._run_counts.get(id(module), 0) + sum(m is module for m in before)
        # known from an earlier pass of a generation, or a new one
        return self._layers.get((id(module), nth), len(self._layers) + len(before))

    def check_applied(self) -> None:
        """Raises an error for an edit of a layer that never ran."""
        n = len(self._layers)
        for edit in self.edits:
            if not 0 <= edit.layer < n:
                raise AttnVizError(
                    f"There is no layer {edit.layer} to edit.",
                    f"They run from 0 to {n - 1}." if n else "The model has none.",
                )

    def _check_edited(self, index: int, call: Call) -> None:
        edited = isinstance(call.layer, EditedRecord)
        if any(edit.layer == index for edit in self.edits) and not edited:
            raise AttnVizError(
                f"Layer {index} cannot be edited: {call.reason or 'it is outside the interface'}.",
                "Edit a layer whose source is exact.",
            )

    def attend(self, call: Dispatch) -> tuple[Tensor, Tensor | None]:
        """Runs a layer's attention as the model would, applies its edits, and keeps its record."""
        index = -1
        if self.edits or self._observer is not None:
            index = self._next_index(call.module, call.query, call.key)
        probe = None
        self.inside = True
        try:
            output, weights = call.run()
            found = self._interpreter.interpret(call, output, weights)
            if self._observer is not None and self._observer.needs(index):
                probe = self._interpreter.probe(call, all_rows=True)
        finally:
            self.inside = False
        layer: LayerRecord | None = found.layer
        for edit in self.edits:
            if edit.layer == index and isinstance(layer, QKVRecord | EditedRecord):
                layer, output = apply_change(edit.change(layer, output), layer, output)
        own = output if layer is not None else None
        self.add(
            call.module, layer, own, found.source, found.reason, checks=found.checks, probe=probe
        )
        return output, weights


# The arguments that transformers' attention functions may receive by position.
_POSITIONAL = ("query", "key", "value", "attention_mask", "dropout", "scaling")

_original_get_interface = AttentionInterface.get_interface


def _get_interface(
    self: AttentionInterface, attn_implementation: str, default: AttentionFunction
) -> AttentionFunction:
    function = _original_get_interface(self, attn_implementation, default)
    if torch.compiler.is_compiling():  # the compiler can't trace the lookup below
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


AttentionInterface.get_interface = _get_interface  # type: ignore[method-assign]
