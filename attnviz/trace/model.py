"""A model that can be traced: what `attnviz.load` and `attnviz.wrap` give."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel
from attnviz.trace import model_inputs
from attnviz.trace.generation import Generation, generate
from attnviz.trace.prediction import PredictionHead, continues_text, head_of
from attnviz.trace.recorder import Call, Edit, Recorder
from attnviz.trace.recording import Replay, copied, recording
from attnviz.trace.structure import Stream, is_causal_lm, kind_of, reads, towers
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
        """The image processor, if the model sees images."""
        return self.loaded.processor

    @property
    def name(self) -> str:
        """What the model is called."""
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
        """What a person should know about how it was loaded."""
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
    ) -> Trace:
        """Runs the model once and records what it did.

        Args:
            text: what the model reads. pair: a second segment, for encoders that take two.
            target: what the decoder of an encoder-decoder is given; by default its start alone.
            image: a PIL image, or several as a list, for vision models; see
                `attnviz.models.images.as_rgb`. With a text too for a model whose processor takes
                both.
            inputs: ready tensors instead, e.g. {"input_ids": ids}.
            edits: interventions, see `attnviz.edits`.
            keep: "qkv", "residual", "output" (each layer's own, so that the receipt needs no
                second pass), and "logits" (every position's, where a causal model's last one
                would be kept).

        Raises:
            AttnVizError: input that the model cannot take.
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
        recorder = Recorder(tuple(edits), keep_outputs="output" in keep)
        replay = Replay(self.module, tensors, edits, prepared.batch)
        with self.recording(recorder, prepared.batch, "residual" in keep) as stream:
            output = self.module(**copied(tensors))
        recorder.check_applied()
        head, logits = head_of(self.module, self.tokenizer, output)
        if last_only and logits is not None and head.task == "next" and len(logits) > 1:
            logits = logits[-1:].clone()
        return self.traced(recorder.calls, stream, prepared, logits, "qkv" in keep, replay, head)

    def generate(self, text: str | None = None, **options: Any) -> Generation:
        """Lets the model write, and records all of it: see `attnviz.trace.generation.generate`."""
        return generate(self, text, **options)

    def name_of(self, module: nn.Module) -> str:
        """What a part of the model is called in it; looked up anew, since some change as they run.

        (BigBird replaces its attention modules at the first short text.)
        """
        if id(module) not in self._names:
            self._names = {id(m): n for n, m in self.module.named_modules()}
        return self._names.get(id(module), type(module).__name__)

    def recording(
        self, recorder: Recorder, batch: int, keep_residual: bool
    ) -> AbstractContextManager[Stream]:
        """Records what this thread runs inside the block; gives the blocks' inputs and outputs."""
        return recording(self.module, recorder, batch, keep_residual)

    def traced(
        self,
        calls: Sequence[Call],
        stream: Stream,
        prepared: model_inputs.Prepared,
        logits: Tensor | None,
        keep_attention: bool,
        replay: Replay | None = None,
        head: PredictionHead | None = None,
    ) -> Trace:
        """A trace out of what was recorded.

        Args:
            head: how its logits are read; by default as next tokens.
        """
        if not keep_attention:
            reason = 'the trace was made without "qkv"'
            calls = [Call(c.module, None, None, "refused", reason) for c in calls]
        module = self.module
        names = [self.name_of(c.module) for c in calls]
        kinds = [kind_of(module, n, c.module) for n, c in zip(names, calls, strict=True)]
        reading = [reads(module, name) for name in names]
        shapes = [(0, 0, 0, 0) if c.layer is None else c.layer.shape for c in calls]
        seen = list(zip(kinds, reading, shapes, strict=True))
        n_patches = next((s[2] for _, what, s in seen if what == "image" and s[2]), None)
        labels = model_inputs.labels(self.loaded, prepared, n_patches)
        whole = [
            (name, s)
            for name, (kind, what, s) in zip(names, seen, strict=True)
            if what == "text" and kind != "cross" and s[0] == prepared.batch
        ]
        return Trace(
            calls=calls,
            names=names,
            kinds=kinds,
            axes=[labels.axes(*one) for one in seen],
            towers=towers(stream, whole),
            tokens=prepared.tokens or labels.image,
            target_tokens=prepared.target_tokens,
            labels=labels,
            logits=logits,
            head=head or PredictionHead("next", self.tokenizer),
            replay=replay,
        )
