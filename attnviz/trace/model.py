"""A model that can be traced: what `attnviz.load` and `attnviz.wrap` return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel
from attnviz.trace import model_inputs
from attnviz.trace.assembly import assemble_trace
from attnviz.trace.generation import Generation, generate
from attnviz.trace.metric import Metric
from attnviz.trace.prediction import continues_text, prediction_head
from attnviz.trace.recorder import Edit, Recorder
from attnviz.trace.replay import Replay
from attnviz.trace.session import copied, recording
from attnviz.trace.structure import is_causal_lm
from attnviz.trace.trace import Trace

KEEP = ("qkv", "residual")
_KEEPABLE = {"qkv", "residual", "output", "logits"}


class Model:
    """A transformers model that can be traced. Nothing here changes the model.

    model = attnviz.load("smollm2-135m")
    trace = model.trace("The cat sat on the mat")
    written = model.generate("Once upon a time", max_new_tokens=20)
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._names = {id(m): n for n, m in loaded.module.named_modules()}

    @property
    def module(self) -> PreTrainedModel:
        """The transformers module; shared, so read-only."""
        return self.loaded.module

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer, if the model reads text."""
        return self.loaded.tokenizer

    @property
    def processor(self) -> Any | None:
        """The image processor, if the model takes images."""
        return self.loaded.processor

    @property
    def name(self) -> str:
        """The model's name."""
        return self.loaded.name

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.loaded.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of its weights."""
        return self.loaded.dtype

    @property
    def architecture(self) -> Literal["vision", "encoder-decoder", "decoder", "encoder"]:
        """Which kind of model it is; "vision" reads images and no text."""
        if self.tokenizer is None and self.processor is not None:
            return "vision"
        if getattr(self.module.config, "is_encoder_decoder", False):
            return "encoder-decoder"
        return "decoder" if is_causal_lm(self.module) else "encoder"

    @property
    def nbytes(self) -> int:
        """Bytes of its parameters and buffers; shared ones count once."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return sum({id(t): t.nbytes for t in tensors}.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the user on how it was loaded."""
        return self.loaded.notes

    def trace(
        self,
        text: str | None = None,
        *,
        target: str | None = None,
        pair: str | None = None,
        image: Any | None = None,
        inputs: dict[str, Tensor] | None = None,
        edits: Sequence[Edit] = (),
        keep: Sequence[str] = KEEP,
        on_layer: Callable[[int], None] = lambda n_layers: None,
    ) -> Trace:
        """Runs the model once and records what it did.

        Args:
            text: the input. pair: a second segment, for encoders that take two.
            target: the decoder input of an encoder-decoder; by default its start token alone.
            image: a PIL image, or a list of several, for vision models; see
                `attnviz.models.images.as_rgb`. Together with a text for a model whose processor
                takes both.
            inputs: ready tensors instead, e.g. {"input_ids": ids}.
            edits: interventions, see `attnviz.edits`.
            keep: "qkv", "residual", "output" (each layer's own output, so that the receipt needs
                no second pass), and "logits" (of every position; of a causal model the last
                position's are kept by default).
            on_layer: called after each layer with the number of layers so far. An exception that
                it raises ends the forward pass.

        Raises:
            AttnVizError: input that the model can't take.
        """
        unknown = set(keep) - _KEEPABLE
        if unknown:
            raise AttnVizError(
                f"There is nothing called {sorted(unknown)[0]!r} to keep.",
                f"Choose among {', '.join(sorted(_KEEPABLE))}.",
            )
        prepared = model_inputs.prepare(self.loaded, text, target, pair, image, inputs)
        tensors: dict[str, Any] = copied(prepared.tensors)
        accepted = inspect.signature(self.module.forward).parameters
        if "use_cache" in accepted:
            tensors.setdefault("use_cache", False)
        last_only = continues_text(self.module) and "logits" not in keep
        if last_only and "logits_to_keep" in accepted:
            tensors.setdefault("logits_to_keep", 1)
        recorder = Recorder(tuple(edits), keep_outputs="output" in keep, on_layer=on_layer)
        replay = Replay(self.module, tensors, edits, prepared.batch)
        with recording(self.module, recorder, prepared.batch, "residual" in keep) as stream:
            output = self.module(**copied(tensors))
        recorder.check_applied()
        head, logits = prediction_head(self.module, self.tokenizer, output)
        if last_only and logits is not None and head.task == "next" and len(logits) > 1:
            logits = logits[-1:].clone()
        return assemble_trace(
            self, recorder.calls, stream, prepared, logits, "qkv" in keep, replay, head
        )

    def measure(
        self, text: str | None, metric: Metric, edits: Sequence[Edit] = (), **inputs: Any
    ) -> float:
        """A metric of the model's prediction, with edits or without.

        Args:
            inputs: more of what ``trace`` takes: ``target``, ``pair``, ``image``, ``inputs``.

        Raises:
            AttnVizError: as ``trace``, or an answer that the model can't give.
        """
        keep = () if metric.position is None else ("logits",)
        trace = self.trace(text, edits=edits, keep=keep, **inputs)
        plain = trace
        if edits and metric.needs_reference:
            plain = self.trace(text, keep=keep, **inputs)
        return metric.bind(plain).of(trace)

    def generate(self, text: str | None = None, **options: Any) -> Generation:
        """Generates text and records all of it: see `attnviz.trace.generation.generate`."""
        return generate(self, text, **options)

    def name_of(self, module: nn.Module) -> str:
        """The path of a module inside the model.

        Looked up again if unknown: BigBird replaces its attention modules at the first short text.
        """
        if id(module) not in self._names:
            self._names = {id(m): n for n, m in self.module.named_modules()}
        return self._names.get(id(module), type(module).__name__)
