"""Letting a model write, and recording all of it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace import inputs as feeding
from attnviz.trace.merge import Passes
from attnviz.trace.recorder import Edit, Recorder
from attnviz.trace.structure import Kind, Stream, kind_of
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


@dataclass(frozen=True)
class Step:
    """A token that has just been written, and what the model looked at when it chose it.

    Attributes:
        ids: (n,) the text so far, this token last: a decoder's prompt and what it wrote; of an
            encoder-decoder what the decoder reads.
    """

    ids: Tensor
    passes: Passes = field(repr=False)

    @property
    def id(self) -> int:
        """The token's."""
        return int(self.ids[-1])

    @property
    def position(self) -> int:
        """Where the token stands in the text; the query that chose it stands one before."""
        return len(self.ids) - 1

    def kind(self, layer: int) -> Kind:
        """The kind of a layer; an encoder's rows stay what they are while the decoder writes.

        Raises:
            AttnVizError: no such layer.
        """
        return self.passes.kind(layer)

    def weights(self, layer: int, head: int, since: int | None = None) -> Tensor:
        """(r, n_k): one head's weights for the query that chose the token, as one row, or for all
        queries from ``since`` on. Nothing is kept of them here.

        Args:
            layer: counted in the order in which the layers first ran, as in ``trace.layers``.

        Raises:
            AttnVizError: no such layer or head, or a layer that cannot be shown.
        """
        return self.passes.weights(layer, head, since)


def generate(
    model: Model,
    text: str | None = None,
    *,
    inputs: dict[str, Tensor] | None = None,
    after: Sequence[int] = (),
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    edits: Sequence[Edit] = (),
    keep: Sequence[str] = ("qkv", "residual"),
    on_token: Callable[[Step], bool] | None = None,
) -> Generation:
    """Lets the model write, with its KV cache, and records all of it.

    Each token is drawn with a chance of its own, made of the seed and the token's position, so
    that going on after a beginning gives what writing all at once would have given.

    Args:
        text: the prompt (the source text of an encoder-decoder).
        after: ids of tokens that were written before. The writing goes on after them, and they
            count as written in what is returned. After an end of text nothing more is written.
        max_new_tokens: how many are written at most, those in ``after`` not counted.
        temperature: 0 takes the likeliest token each time; above, tokens are drawn.
        top_k, top_p: draw among the k likeliest, or the likeliest that make up p.
        edits: interventions, see `attnviz.edits`, that act on each pass. They speak of all
            positions, so everything is then read again for each token: n passes, without a cache.
        keep: as for ``Model.trace``; each layer's own output is always kept.
        on_token: called with each new token; returning True stops.

    Raises:
        AttnVizError: a model that writes nothing, or input that it cannot take.
    """
    module = model.module
    if not module.can_generate():
        raise AttnVizError(
            f"{model.name} does not write text.", "Choose a causal or encoder-decoder model."
        )
    prepared = feeding.prepare(model.checkpoint, text, None, None, None, inputs)
    encdec = bool(getattr(module.config, "is_encoder_decoder", False))
    tensors = {k: v for k, v in prepared.tensors.items() if k != "decoder_input_ids"}
    given = _after(module, tensors, after)
    options: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        options |= {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
        options["logits_processor"] = LogitsProcessorList([_Chance(seed)])
    if "logits" in keep and "logits_to_keep" in inspect.signature(module.forward).parameters:
        options["logits_to_keep"] = 0  # of the prompt too
    if edits:
        options["use_cache"] = False  # an edit says what it does to all positions at once
    whole, cache = given.get("decoder_input_ids" if encdec else "input_ids"), None
    ended = _at_its_end(module, after)
    with _recorded(model, keep, edits) as run:
        if not ended:
            if on_token is not None:
                options["stopping_criteria"] = StoppingCriteriaList([_OnToken(on_token, run)])
            out = module.generate(  # type: ignore[operator]
                **given,
                **options,
                num_beams=1,
                max_new_tokens=max_new_tokens,
                return_dict_in_generate=True,
            )
            whole, cache = out.sequences, getattr(out, "past_key_values", None)
            seen = whole.shape[1] - 1  # the last token was written but not read
            if not encdec and cache is not None and not _is_empty(cache):
                module(
                    input_ids=whole[:, -1:],
                    attention_mask=torch.ones_like(whole),
                    past_key_values=cache,
                    use_cache=True,
                )
                seen = whole.shape[1]
    assert whole is not None
    start = 1 if encdec else prepared.tensors["input_ids"].shape[1]
    ids = whole[0].tolist()
    if ended or edits or (not encdec and _is_empty(cache)):
        # what was read again for each token, or not at all, is read once more
        with _recorded(model, keep, edits) as run:
            module(**_after(module, tensors, ids[start:]))
        seen = len(ids)
    written = feeding.tokens_of(model.checkpoint, ids[start:])
    if encdec:
        begin = feeding.tokens_of(model.checkpoint, ids[:1])
        prepared = feeding.with_tokens(prepared, prepared.tokens, (*begin, *written)[:seen])
    else:
        prepared = feeding.with_tokens(prepared, (*prepared.tokens, *written)[:seen], ())
    logits = torch.cat(run.logits) if run.logits else None  # (n, vocabulary)
    calls = run.passes.merged()
    trace = model.traced(calls, _joined(run.stream), prepared, logits, "qkv" in keep)
    answer = ids[start:]
    words = (
        model.tokenizer.decode(answer, skip_special_tokens=True)
        if model.tokenizer is not None
        else " ".join(map(str, answer))
    )
    return Generation(str(words), written, trace, start)


def _after(
    module: PreTrainedModel, tensors: dict[str, Tensor], written: Sequence[int]
) -> dict[str, Tensor]:
    """The input with tokens that were written after it."""
    if not written:
        return tensors
    device = next(iter(tensors.values())).device
    longer = dict(tensors)
    if getattr(module.config, "is_encoder_decoder", False):
        config = module.generation_config
        start = config.decoder_start_token_id  # type: ignore[union-attr]
        start = config.bos_token_id if start is None else start  # type: ignore[union-attr]
        longer["decoder_input_ids"] = torch.tensor([[start, *written]], device=device)
        return longer
    ids = tensors["input_ids"]
    for name, t in tensors.items():
        if t.shape == ids.shape:  # (1, n): the mask, segments and such go on as they end
            longer[name] = torch.cat([t, t[:, -1:].expand(-1, len(written))], dim=1)
    longer["input_ids"] = torch.cat([ids, torch.tensor([list(written)], device=device)], dim=1)
    return longer


def _at_its_end(module: PreTrainedModel, after: Sequence[int]) -> bool:
    """Whether what was written ends with an end of text."""
    ends = module.generation_config.eos_token_id  # type: ignore[union-attr]
    return bool(after) and after[-1] in (ends if isinstance(ends, list) else [ends])


def _is_empty(cache: Any) -> bool:
    """Whether a cache was made and not used."""
    return isinstance(cache, Cache) and not cache.get_seq_length()


class _Chance(LogitsProcessor):
    """Makes the draw of a token depend on the seed and the token's position alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        place = f"{self._seed} {input_ids.shape[1]}".encode()
        torch.manual_seed(int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "big"))
        return scores


class _OnToken(StoppingCriteria):
    """Tells each new token to a listener, who may stop the writing."""

    def __init__(self, listen: Callable[[Step], bool], run: _Run) -> None:
        self._listen = listen
        self._run = run

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        done = bool(self._listen(Step(input_ids[0], self._run.passes)))
        return torch.full((len(input_ids),), done, device=input_ids.device)


@dataclass(frozen=True)
class _Run:
    """What is recorded while a model writes.

    Attributes:
        logits: (n, vocabulary) each, pass by pass, or the last position's alone.
    """

    passes: Passes
    stream: Stream
    logits: list[Tensor]


@contextmanager
def _recorded(model: Model, keep: Sequence[str], edits: Sequence[Edit]) -> Iterator[_Run]:
    """Records the passes made inside, and gives torch its chance back as it was."""
    module = model.module

    def kind(attention: nn.Module) -> Kind:
        return kind_of(module, model.name_of(attention), attention)

    # a generation is not run again for its receipt: it keeps its outputs
    recorder = Recorder(tuple(edits), keep_outputs=True)
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        model.recording(recorder, 1, "residual" in keep) as stream,
    ):
        run = _Run(Passes(kind), stream, [])

        def ended(_module: nn.Module, _args: Any, output: Any) -> None:
            if not recorder.is_active():  # another thread's pass
                return
            run.passes.add(recorder.end_pass())
            logits = getattr(output, "logits", None)
            if isinstance(logits, Tensor):
                if "logits" in keep:
                    run.logits.append(logits[0])
                else:
                    run.logits[:] = [logits[0, -1:].clone()]

        handle = module.register_forward_hook(ended)
        try:
            yield run
            if run.passes.started:
                recorder.check_applied()
        finally:
            handle.remove()


def _joined(stream: Stream) -> Stream:
    """A generation's stream: what each block received in all passes, one below the other."""
    left = {tower: [torch.cat(passes, dim=1)] for tower, passes in stream.left.items()}
    joined = Stream(left=left, unclear=stream.unclear)
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
