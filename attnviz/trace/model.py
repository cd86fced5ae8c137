"""A model that can be traced: what `attnviz.load` and `attnviz.wrap` give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import StoppingCriteria, StoppingCriteriaList

from attnviz.errors import AttnVizError
from attnviz.models.checkpoint import Checkpoint
from attnviz.models.tokens import Token
from attnviz.trace import inputs as feeding
from attnviz.trace.merge import merge
from attnviz.trace.recorder import Call, Edit, Recorder
from attnviz.trace.structure import (
    Kind,
    Stream,
    attention_inside,
    is_causal_lm,
    kind_of,
    stream_of,
)
from attnviz.trace.trace import Trace
from attnviz.trace.watch import Watch

KEEP = ("qkv", "residual")
_KEEPABLE = {"qkv", "residual", "logits"}


@dataclass(frozen=True)
class Generation:
    """What a model wrote, and the trace of all of it, prompt and continuation.

    Attributes:
        text: the continuation alone. tokens: its tokens. trace: of the whole.
    """

    text: str
    tokens: tuple[Token, ...]
    trace: Trace


class Model:
    """A transformers model that can be traced. Nothing here changes the model.

    model = attnviz.load("smollm2-135m")
    trace = model.trace("The cat sat on the mat")
    written = model.generate("Once upon a time", max_new_tokens=20)
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._names = {id(m): n for n, m in checkpoint.module.named_modules()}

    @property
    def module(self) -> PreTrainedModel:
        """The transformers module; shared, so read-only."""
        return self.checkpoint.module

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer, if the model reads text."""
        return self.checkpoint.tokenizer

    @property
    def processor(self) -> Any | None:
        """The image processor, if the model sees images."""
        return self.checkpoint.processor

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.checkpoint.name

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.checkpoint.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of its weights."""
        return self.checkpoint.dtype

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how it was loaded."""
        return self.checkpoint.notes

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
            image: a PIL image, for vision models.
            inputs: ready tensors instead, e.g. {"input_ids": ids}.
            edits: interventions, see `attnviz.edits`.
            keep: "qkv" (with each layer's own output, for the receipt), "residual", and
                "logits" for every position's logits where a causal model would keep the last.

        Raises:
            AttnVizError: input that the model cannot take.
        """
        unknown = set(keep) - _KEEPABLE
        if unknown:
            raise AttnVizError(
                f"There is nothing called {sorted(unknown)[0]!r} to keep.",
                f"Choose among {', '.join(sorted(_KEEPABLE))}.",
            )
        prepared = feeding.prepare(self.checkpoint, text, target, pair, image, inputs)
        tensors = dict(prepared.tensors)
        accepted = inspect.signature(self.module.forward).parameters
        if "use_cache" in accepted:
            tensors.setdefault("use_cache", False)  # type: ignore[arg-type]
        last_only = is_causal_lm(self.module) and "logits" not in keep
        if last_only and "logits_to_keep" in accepted:
            tensors.setdefault("logits_to_keep", 1)  # type: ignore[arg-type]
        with self._recording(prepared.batch, edits, keep) as (recorder, stream):
            output = self.module(**tensors)
        _check_applied(edits, recorder)
        logits = getattr(output, "logits", None)
        if isinstance(logits, Tensor):
            logits = logits[0] if logits.ndim > 1 else logits
            if last_only and logits.ndim == 2 and len(logits) > 1:
                logits = logits[-1:].clone()
        else:
            logits = None
        return self._trace(recorder.calls, stream, prepared, logits, "qkv" in keep)

    def generate(
        self,
        text: str | None = None,
        *,
        inputs: dict[str, Tensor] | None = None,
        max_new_tokens: int = 20,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        keep: Sequence[str] = KEEP,
        on_token: Callable[[int], bool] | None = None,
    ) -> Generation:
        """Lets the model write, with its KV cache, and records all of it.

        Args:
            text: the prompt (the source text of an encoder-decoder).
            temperature: 0 takes the likeliest token each time; above, tokens are drawn.
            top_k, top_p: draw among the k likeliest, or the likeliest that make up p.
            on_token: called with each new token's id; returning True stops.

        Raises:
            AttnVizError: a model that writes nothing, or input that it cannot take.
        """
        if not self.module.can_generate():
            raise AttnVizError(
                f"{self.name} does not write text.", "Choose a causal or encoder-decoder model."
            )
        prepared = feeding.prepare(self.checkpoint, text, None, None, None, inputs)
        tensors = {k: v for k, v in prepared.tensors.items() if k != "decoder_input_ids"}
        drawn: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            drawn |= {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
        stop = StoppingCriteriaList([_OnToken(on_token)] if on_token is not None else [])
        devices = [self.device] if self.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=devices),
            self._recording(1, (), keep) as (recorder, stream),
            _passes(self.module, recorder),
        ):
            torch.manual_seed(seed)
            out = self.module.generate(  # type: ignore[operator]
                **tensors,
                **drawn,
                num_beams=1,
                max_new_tokens=max_new_tokens,
                stopping_criteria=stop,
                return_dict_in_generate=True,
                output_logits=True,
            )
            ids: Tensor = out.sequences
            logits = out.logits[-1] if out.logits else None
            # the last token was written but not read: read it, so that the trace covers it
            last = self._read_last(ids, out, tensors)
            logits = last if last is not None else logits
        whole = ids[0].tolist()
        encdec = bool(getattr(self.module.config, "is_encoder_decoder", False))
        start = 1 if encdec else prepared.tensors["input_ids"].shape[1]
        written = feeding.tokens_of(self.checkpoint, whole[start:])
        seen = len(whole) - (0 if last is not None else 1)
        if encdec:
            begin = feeding.tokens_of(self.checkpoint, whole[:1])
            prepared = feeding.with_tokens(prepared, prepared.tokens, (*begin, *written)[:seen])
        else:
            prepared = feeding.with_tokens(prepared, (*prepared.tokens, *written)[:seen], ())
        calls = self._merged(recorder.calls)
        stream = _joined(stream)
        trace = self._trace(calls, stream, prepared, logits, "qkv" in keep)
        answer = whole[start:]
        words = (
            self.tokenizer.decode(answer, skip_special_tokens=True)
            if self.tokenizer is not None
            else " ".join(map(str, answer))
        )
        return Generation(str(words), written, trace)

    def _read_last(self, ids: Tensor, out: Any, tensors: dict[str, Any]) -> Tensor | None:
        """(1, vocabulary): logits after the last token; None where the cache cannot be read on."""
        cache = getattr(out, "past_key_values", None)
        if cache is None or getattr(self.module.config, "is_encoder_decoder", False):
            return None
        output = self.module(
            input_ids=ids[:, -1:],
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
        )
        last: Tensor = output.logits[0, -1:]
        return last

    @contextmanager
    def _recording(
        self, batch: int, edits: Sequence[Edit], keep: Sequence[str]
    ) -> Iterator[tuple[Recorder, Stream]]:
        recorder = Recorder(tuple(edits), keep_outputs="qkv" in keep)
        with (
            torch.no_grad(),
            stream_of(self.module, recorder, "residual" in keep) as stream,
            recorder.active(),
            Watch(recorder, batch),
        ):
            yield recorder, stream

    def _trace(
        self,
        calls: Sequence[Call],
        stream: Stream,
        prepared: feeding.Prepared,
        logits: Tensor | None,
        keep_attention: bool,
    ) -> Trace:
        calls = _with_unseen(calls, stream)
        if not keep_attention:
            reason = 'the trace was made without "qkv"'
            calls = [Call(c.module, None, None, "refused", reason) for c in calls]
        names = [self._names.get(id(c.module), type(c.module).__name__) for c in calls]
        kinds = [kind_of(self.module, n, c.module) for n, c in zip(names, calls, strict=True)]
        residuals: dict[Kind, tuple[Tensor, ...]] = {}
        for kind in {b.kind for b in stream.blocks}:
            pairs = zip(stream.blocks, stream.entered, strict=True)
            entered = [t for b, t in pairs if b.kind == kind and t is not None]
            if entered:
                last = stream.left.get(kind, [])[-1:]
                residuals[kind] = tuple(entered + last)
        labels = getattr(self.module.config, "id2label", None)
        classes = logits is not None and logits.ndim == 1
        return Trace(
            calls=calls,
            names=names,
            kinds=kinds,
            residuals=residuals,
            tokens=feeding.as_patches(self.module, prepared, calls),
            target_tokens=prepared.target_tokens,
            logits=logits,
            vocabulary=labels if classes else self.tokenizer,
            mask_token_id=getattr(self.tokenizer, "mask_token_id", None),
        )

    def _merged(self, calls: Sequence[Call]) -> list[Call]:
        """A generation's calls, those of one layer in all its passes put together."""
        groups: dict[int, list[Call]] = {}
        for call in calls:
            groups.setdefault(call.index, []).append(call)
        merged = []
        for group in groups.values():
            name = self._names.get(id(group[0].module), "")
            cross = kind_of(self.module, name, group[0].module) == "cross"
            merged.append(merge(group, grows=not cross))
        return merged


class _OnToken(StoppingCriteria):
    """Tells each new token to a listener, who may stop the writing."""

    def __init__(self, listen: Callable[[int], bool]) -> None:
        self._listen = listen

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        done = bool(self._listen(int(input_ids[0, -1])))
        return torch.full((len(input_ids),), done, device=input_ids.device)


@contextmanager
def _passes(module: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Tells the recorder where one forward pass ends and the next begins."""

    def hook(*_: Any) -> None:
        if recorder.is_active():
            recorder.next_pass()

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _check_applied(edits: Sequence[Edit], recorder: Recorder) -> None:
    """Refuses an edit of a layer that never ran."""
    layers = {call.index for call in recorder.calls}
    for edit in edits:
        if edit.layer not in layers:
            raise AttnVizError(
                f"There is no layer {edit.layer} to edit.",
                f"They run from 0 to {len(layers) - 1}." if layers else "The model has none.",
            )


def _joined(stream: Stream) -> Stream:
    """A generation's stream: what each block received in all passes, one below the other."""
    joined = Stream(left={kind: [torch.cat(passes, dim=1)] for kind, passes in stream.left.items()})
    place: dict[int, int] = {}
    for block, before, entered in zip(
        stream.blocks, stream.calls_before, stream.entered, strict=True
    ):
        i = place.get(id(block.module))
        if i is None:
            place[id(block.module)] = len(joined.blocks)
            joined.blocks.append(block)
            joined.calls_before.append(before)
            joined.entered.append(entered)
        elif entered is not None and joined.entered[i] is not None:
            held = joined.entered[i]
            assert held is not None
            joined.entered[i] = torch.cat([held, entered], dim=1)
    return joined


def _with_unseen(calls: Sequence[Call], stream: Stream) -> list[Call]:
    """The calls, and a refused one for each block that holds attention but showed none."""
    seen = {id(c.module) for c in calls}
    out: list[Call] = list(calls)
    reason = "it has no softmax over keys that could be seen (sparse, hashed or linear attention)"
    added = 0
    for block, before in zip(stream.blocks, stream.calls_before, strict=True):
        if any(id(m) in seen for m in block.module.modules()):
            continue
        for _, module in attention_inside(block.module)[:1]:
            out.insert(before + added, Call(module, None, None, "refused", reason))
            added += 1
    return out
