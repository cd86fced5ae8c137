"""Letting a model write, and recording all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation import StoppingCriteria, StoppingCriteriaList

from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace import inputs as feeding
from attnviz.trace.merge import merge
from attnviz.trace.recorder import Call, Recorder
from attnviz.trace.structure import Stream, kind_of
from attnviz.trace.trace import Trace

if TYPE_CHECKING:
    from attnviz.trace.model import Model


@dataclass(frozen=True)
class Generation:
    """What a model wrote, and the trace of all of it, prompt and continuation.

    Attributes:
        text: the continuation alone. tokens: its tokens. trace: of the whole.
        start: where the continuation begins among the trace's tokens (an encoder-decoder's
            target tokens).
    """

    text: str
    tokens: tuple[Token, ...]
    trace: Trace
    start: int


def generate(
    model: Model,
    text: str | None = None,
    *,
    inputs: dict[str, Tensor] | None = None,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    keep: Sequence[str] = ("qkv", "residual"),
    on_token: Callable[[int], bool] | None = None,
) -> Generation:
    """Lets the model write, with its KV cache, and records all of it.

    Args:
        text: the prompt (the source text of an encoder-decoder).
        temperature: 0 takes the likeliest token each time; above, tokens are drawn.
        top_k, top_p: draw among the k likeliest, or the likeliest that make up p.
        keep: as for ``Model.trace``; each layer's own output is always kept.
        on_token: called with each new token's id; returning True stops.

    Raises:
        AttnVizError: a model that writes nothing, or input that it cannot take.
    """
    if not model.module.can_generate():
        raise AttnVizError(
            f"{model.name} does not write text.", "Choose a causal or encoder-decoder model."
        )
    prepared = feeding.prepare(model.checkpoint, text, None, None, None, inputs)
    tensors = {k: v for k, v in prepared.tensors.items() if k != "decoder_input_ids"}
    drawn: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        drawn |= {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
    stop = StoppingCriteriaList([_OnToken(on_token)] if on_token is not None else [])
    # a generation is not run again for its receipt: it keeps its outputs
    recorder = Recorder(keep_outputs=True)
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        model.recording(recorder, 1, "residual" in keep) as stream,
        _passes(model.module, recorder),
    ):
        torch.manual_seed(seed)
        out = model.module.generate(  # type: ignore[operator]
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
        last = _read_last(model, ids, out)
        logits = last if last is not None else logits
    whole = ids[0].tolist()
    encdec = bool(getattr(model.module.config, "is_encoder_decoder", False))
    start = 1 if encdec else prepared.tensors["input_ids"].shape[1]
    written = feeding.tokens_of(model.checkpoint, whole[start:])
    seen = len(whole) - (0 if last is not None else 1)
    if encdec:
        begin = feeding.tokens_of(model.checkpoint, whole[:1])
        prepared = feeding.with_tokens(prepared, prepared.tokens, (*begin, *written)[:seen])
    else:
        prepared = feeding.with_tokens(prepared, (*prepared.tokens, *written)[:seen], ())
    if "logits" in keep and out.logits:
        rows = [*_prompt_logits(model, tensors, start), *out.logits]
        logits = torch.cat(rows if last is None else [*rows, last])  # (n, vocabulary)
    calls = _merged(model, recorder.calls)
    stream = _joined(stream)
    trace = model.traced(calls, stream, prepared, logits, "qkv" in keep)
    answer = whole[start:]
    words = (
        model.tokenizer.decode(answer, skip_special_tokens=True)
        if model.tokenizer is not None
        else " ".join(map(str, answer))
    )
    return Generation(str(words), written, trace, start)


def _prompt_logits(model: Model, tensors: dict[str, Tensor], start: int) -> list[Tensor]:
    """One (start - 1, vocabulary): inside the prompt, of which writing keeps the last row alone."""
    if start == 1:
        return []
    with torch.no_grad():
        return [model.module(**tensors).logits[0, : start - 1]]


def _read_last(model: Model, ids: Tensor, out: Any) -> Tensor | None:
    """(1, vocabulary): logits after the last token; None where the cache cannot be read on."""
    cache = getattr(out, "past_key_values", None)
    if cache is None or getattr(model.module.config, "is_encoder_decoder", False):
        return None
    output = model.module(
        input_ids=ids[:, -1:],
        attention_mask=torch.ones_like(ids),
        past_key_values=cache,
        use_cache=True,
    )
    last: Tensor = output.logits[0, -1:]
    return last


def _merged(model: Model, calls: Sequence[Call]) -> list[Call]:
    """A generation's calls, those of one layer in all its passes put together."""
    groups: dict[int, list[Call]] = {}
    for call in calls:
        groups.setdefault(call.index, []).append(call)
    merged = []
    for group in groups.values():
        name = model.name_of(group[0].module)
        cross = kind_of(model.module, name, group[0].module) == "cross"
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


def _joined(stream: Stream) -> Stream:
    """A generation's stream: what each block received in all passes, one below the other."""
    joined = Stream(left={kind: [torch.cat(passes, dim=1)] for kind, passes in stream.left.items()})
    place: dict[int, int] = {}
    for block, entered in zip(stream.blocks, stream.entered, strict=True):
        i = place.get(id(block.module))
        if i is None:
            place[id(block.module)] = len(joined.blocks)
            joined.blocks.append(block)
            joined.entered.append(entered)
        elif entered is not None and joined.entered[i] is not None:
            held = joined.entered[i]
            assert held is not None
            joined.entered[i] = torch.cat([held, entered], dim=1)
    return joined
