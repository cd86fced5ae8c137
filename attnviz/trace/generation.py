"""Letting a model write, and recording all of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation import StoppingCriteriaList
from transformers.utils import ModelOutput

from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace import model_inputs
from attnviz.trace.decoding import (
    Progress,
    ends_of,
    logits_processors,
    overrides_generate,
    settings,
)
from attnviz.trace.generation_recorder import GenerationRecorder, recorded
from attnviz.trace.passes import Passes
from attnviz.trace.recorder import Edit
from attnviz.trace.recording import copied
from attnviz.trace.structure import Kind
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
class GenerationStep:
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
    on_token: Callable[[GenerationStep], bool] | None = None,
) -> Generation:
    """Lets the model write, with its KV cache, and records all of it.

    Each token is drawn with a chance of its own, made of the seed and the token's position, so
    that going on after a beginning gives what writing all at once would have given.

    Of the checkpoint's own generation settings only its special tokens and the tokens that it
    forbids count: no penalty, guidance, beam, chunk or kind of cache. A decoder has a row for each
    token, the last one included; an encoder-decoder has not read its last one.

    Args:
        text: the prompt (the source text of an encoder-decoder).
        inputs: ready tensors instead, of one text.
        after: ids of tokens that were written before. The writing goes on after them, and they
            count as written in what is returned. After an end of text nothing more is written.
        max_new_tokens: how many are written at most, those in ``after`` not counted. With 0 what
            is there is read.
        temperature: 0 takes the likeliest token each time, without any penalty; above, tokens are
            drawn.
        top_k, top_p: draw among the k likeliest, or the likeliest that make up p.
        edits: interventions, see `attnviz.edits`, that act on each pass. They speak of all
            positions, so everything is then read again for each token: n passes, without a cache.
        keep: as for ``Model.trace``; each layer's own output is always kept.
        on_token: called with each new token; returning True stops.

    Raises:
        AttnVizError: a model that writes nothing, input that it cannot take, several texts at once,
            settings out of range, or a model whose passes cannot be put together as one trace.
    """
    module = model.module
    if not module.can_generate():
        raise AttnVizError(
            f"{model.name} does not write text.", "Choose a causal or encoder-decoder model."
        )
    if max_new_tokens < 0:
        raise AttnVizError("A model writes 0 tokens or more.", "Raise max_new_tokens.")
    prepared = model_inputs.prepare(model.loaded, text, None, None, None, inputs)
    if prepared.batch != 1:
        raise AttnVizError(
            f"There are {prepared.batch} texts, and one is written at a time.",
            "Give one text, or generate for each.",
        )
    if prepared.tensors.get("past_key_values") is not None:
        raise AttnVizError(
            "A text is read from its start, not from a cache.", "Leave past_key_values out."
        )
    encdec = bool(getattr(module.config, "is_encoder_decoder", False))
    config = module.generation_config
    if encdec and config.decoder_start_token_id is None and config.bos_token_id is None:
        raise AttnVizError(
            f"{model.name} names no token that its decoder begins with.",
            "Set decoder_start_token_id in its generation_config.json.",
        )
    ends = ends_of(module)
    n = 0 if after and after[-1] in ends else max_new_tokens
    # of an encoder-decoder's text the last token is not read
    unread = list(after[-1:]) if encdec and n == 0 else []
    given = copied(prepared.tensors)  # some write to them (BLIP)
    if inputs is None:
        given.pop("decoder_input_ids", None)  # the start, which transformers knows best
    given = _masked(module, given)
    given = _after(module, given, after[: len(after) - len(unread)])
    n_after = len(after) - len(unread)
    # an edit speaks of all positions at once; and some models are saved as having no cache to use
    cached = not edits and config.use_cache is not False
    how = logits_processors(module, n_after, temperature, top_k, top_p, seed)

    def listen(ids: Tensor) -> bool:
        return on_token is not None and bool(on_token(GenerationStep(ids, run.passes)))

    writing = Progress(n, ends, not encdec, listen)
    with recorded(model, keep, edits, writing) as run:
        module.generate(  # type: ignore[operator]
            **copied(given),
            **{
                **settings(module, cached),
                "logits_processor": how,
                "stopping_criteria": StoppingCriteriaList([writing]),
                "max_new_tokens": writing.n_passes,
            },
        )
    asked = given.get("decoder_input_ids" if encdec else "input_ids")
    if n_after and (asked is None or writing.ids[: writing.n_first] != asked[0].tolist()):
        raise AttnVizError(
            f"{model.name} changes what it is given, so it cannot go on after what was written.",
            "Let it write all at once.",
        )
    start = writing.n_first - n_after
    ids = [*writing.ids, *unread]
    if not run.fits(ids):
        run = _read_again(model, given, run, run.read(ids), keep, edits)
    read = run.read(ids)
    written = model_inputs.tokens_of(model.loaded, ids[start:])
    shown = _labels(model, prepared, read, start, encdec)
    trace = model.traced(run.passes.merged(), run.stream, shown, run.logits, "qkv" in keep)
    answer = ids[start:]
    words = (
        model.tokenizer.decode(answer, skip_special_tokens=True)
        if model.tokenizer is not None
        else " ".join(map(str, answer))
    )
    return Generation(str(words), written, trace, start)


def _labels(
    model: Model, prepared: model_inputs.Prepared, read: Sequence[int], start: int, encdec: bool
) -> model_inputs.Prepared:
    """The input under the tokens that were read, prompt and continuation."""
    if encdec:
        return model_inputs.with_tokens(
            prepared, prepared.tokens, model_inputs.tokens_of(model.loaded, read)
        )
    prompt = prepared.tokens
    if [t.id for t in prompt] != list(read[:start]):  # some models begin with their own
        prompt = model_inputs.tokens_of(model.loaded, read[:start])
    rest = model_inputs.tokens_of(model.loaded, read[start:])
    return model_inputs.with_tokens(prepared, (*prompt, *rest), ())


def _read_again(
    model: Model,
    given: dict[str, Any],
    before: GenerationRecorder,
    read: Sequence[int],
    keep: Sequence[str],
    edits: Sequence[Edit],
) -> GenerationRecorder:
    """All of a text in one pass, for models whose passes do not add up to it.

    Raises:
        AttnVizError: one pass has not a row for each token either, or another prediction.
    """
    module = model.module
    encdec = bool(getattr(module.config, "is_encoder_decoder", False))
    ids = given.get("decoder_input_ids" if encdec else "input_ids")
    n_given = 1 if ids is None else ids.shape[1]
    reading = Progress(0, (), True, None)
    with recorded(model, keep, edits, reading) as run:
        module.generate(  # type: ignore[operator]
            **_after(module, given, read[n_given:]),
            **{
                **settings(module, False),
                "stopping_criteria": StoppingCriteriaList([reading]),
                "max_new_tokens": 1,
            },
        )
    if reading.ids != list(read) or not run.fits(read) or not run.agrees(before):
        raise AttnVizError(
            f"As it writes, {model.name} reads a text otherwise than as a whole: no trace is both.",
            "Trace the finished text instead.",
        )
    return run


def _masked(module: PreTrainedModel, tensors: dict[str, Any]) -> dict[str, Any]:
    """The input with a mask, which transformers would make of it: padding is not seen.

    Made here, of the prompt alone: a token that was written is seen whatever its id is, and a text
    whose padding is also its end has none, which transformers is not told (see `settings`).
    """
    ids = tensors.get("input_ids")
    takes = "attention_mask" in inspect.signature(module.forward).parameters
    takes = takes and not overrides_generate(module)
    if not takes or ids is None or ids.ndim != 2 or tensors.get("attention_mask") is not None:
        return tensors
    pad = module.generation_config.pad_token_id  # type: ignore[union-attr]
    pads = pad is not None and pad not in ends_of(module)
    return {**tensors, "attention_mask": ids.ne(pad).long() if pads else torch.ones_like(ids)}


def _after(
    module: PreTrainedModel, tensors: dict[str, Any], written: Sequence[int]
) -> dict[str, Any]:
    """The input with tokens that were written after it."""
    if not written:
        return tensors
    encdec = bool(getattr(module.config, "is_encoder_decoder", False))
    name = "decoder_input_ids" if encdec else "input_ids"
    device = next(t.device for t in tensors.values() if isinstance(t, Tensor))
    ids = tensors.get(name)
    if ids is None:
        config = module.generation_config
        start = config.decoder_start_token_id if encdec else None  # type: ignore[union-attr]
        start = config.bos_token_id if start is None else start  # type: ignore[union-attr]
        ids = torch.tensor([[start]], device=device)
    longer = {k: v for k, v in tensors.items() if k != name}
    for _ in written:  # masks, segments and positions go on as they do when the model writes
        longer = module._update_model_kwargs_for_generation(  # type: ignore[operator]
            ModelOutput(), longer, is_encoder_decoder=encdec
        )
    longer = {k: v for k, v in longer.items() if k in tensors}
    if not encdec:
        for k, t in longer.items():
            if isinstance(t, Tensor) and t.shape == ids.shape and t is tensors[k]:
                longer[k] = torch.cat([t, t[:, -1:].expand(-1, len(written))], dim=1)
    new = torch.tensor([list(written)], dtype=ids.dtype, device=device)
    return {**longer, name: torch.cat([ids, new], dim=1)}
