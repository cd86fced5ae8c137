"""Generating text and recording all of it."""

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
from attnviz.trace.assembly import assemble_trace
from attnviz.trace.decoding import (
    GenerationState,
    end_tokens,
    generation_settings,
    logits_processors,
    overrides_generate,
)  # fmt: skip
from attnviz.trace.generation_recorder import GenerationRecorder, recording_generation
from attnviz.trace.passes import Passes
from attnviz.trace.recorder import Edit
from attnviz.trace.session import copied
from attnviz.trace.structure import Kind
from attnviz.trace.trace import Trace

if TYPE_CHECKING:
    from attnviz.trace.model import Model


@dataclass(frozen=True)
class Generation:
    """Generated text, and the trace of prompt and continuation.

    Attributes:
        text: the continuation alone. tokens: its tokens. trace: of the whole text.
        start: the index of the continuation among the trace's tokens (an encoder-decoder's target
            tokens).
    """

    text: str
    tokens: tuple[Token, ...]
    trace: Trace
    start: int


@dataclass(frozen=True)
class GenerationStep:
    """A token that was just generated, and the attention of the query that predicted it.

    Attributes:
        ids: (n,) the text so far, this token last: a decoder's prompt and continuation, or what the
            decoder of an encoder-decoder reads.
    """

    ids: Tensor
    passes: Passes = field(repr=False)

    @property
    def id(self) -> int:
        """The token's id."""
        return int(self.ids[-1])

    @property
    def position(self) -> int:
        """The token's position; the query that predicted it is one before."""
        return len(self.ids) - 1

    def kind(self, layer: int) -> Kind:
        """The kind of a layer; an encoder's rows stay the same while the decoder generates.

        Raises:
            AttnVizError: no such layer.
        """
        return self.passes.kind(layer)

    def weights(self, layer: int, head: int, since: int | None = None) -> Tensor:
        """(r, n_k): a head's weights for the query that predicted the token, or from ``since`` on.

        Args:
            layer: in the order in which the layers first ran, as in ``trace.layers``.
            since: the first query; by default the last one alone.

        Raises:
            AttnVizError: no such layer or head, or a layer that was refused.
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
    """Generates text with the model's KV cache, and records all of it.

    Each token is sampled with a random state of its own, made of the seed and the token's position,
    so that continuing a beginning gives the same text as generating all at once.

    Of the checkpoint's generation settings only its special tokens and the tokens it forbids apply:
    no penalty, guidance, beams, chunks or cache type. The trace of a decoder has a row for each
    token, the last one included; an encoder-decoder hasn't read its last one.

    Args:
        text: the prompt (the source text of an encoder-decoder).
        inputs: ready tensors instead, of one text.
        after: ids of tokens that were generated before. They are continued, and are part of what is
            returned. After an end-of-text token nothing more is generated.
        max_new_tokens: the most tokens to generate, not counting ``after``. With 0 the text is only
            read.
        temperature: 0 takes the most probable token each time; above 0, tokens are sampled.
        top_k, top_p: sample among the k most probable, or the most probable that add up to p.
        edits: interventions, see `attnviz.edits`, applied in each pass. They refer to all
            positions, so each token then takes a pass over the whole text, without a cache.
        keep: as for ``Model.trace``; each layer's own output is always kept.
        on_token: called with each new token; returning True stops.

    Raises:
        AttnVizError: a model that can't generate, input that it can't take, several texts at once,
            settings out of range, or a model whose passes don't add up to one trace.
    """
    module = model.module
    encdec = _is_encoder_decoder(module)
    prepared = _prepare(model, text, inputs, max_new_tokens)
    ends = end_tokens(module)
    n = 0 if after and after[-1] in ends else max_new_tokens
    # the last token of an encoder-decoder's text is not read
    unread = list(after[-1:]) if encdec and n == 0 else []
    earlier = after[: len(after) - len(unread)]
    tensors = copied(prepared.tensors)  # some models write to them (BLIP)
    if inputs is None:
        tensors.pop("decoder_input_ids", None)  # transformers sets the start token itself
    tensors = _append(module, _with_mask(module, tensors), earlier)
    # an edit refers to all positions at once; and some models are saved without a usable cache
    use_cache = not edits and module.generation_config.use_cache is not False  # type: ignore[union-attr]
    processors = logits_processors(module, len(earlier), temperature, top_k, top_p, seed)

    def report(ids: Tensor) -> bool:
        return on_token is not None and bool(on_token(GenerationStep(ids, recorder.passes)))

    state = GenerationState(n, ends, not encdec, report)
    with recording_generation(model, keep, edits, state) as recorder:
        module.generate(  # type: ignore[operator]
            **copied(tensors),
            **{
                **generation_settings(module, use_cache),
                "logits_processor": processors,
                "stopping_criteria": StoppingCriteriaList([state]),
                "max_new_tokens": state.n_passes,
            },
        )
    given = tensors.get("decoder_input_ids" if encdec else "input_ids")
    if earlier and (given is None or state.ids[: state.n_prompt] != given[0].tolist()):
        raise AttnVizError(
            f"{model.name} rewrites its input, so generation cannot be continued.",
            "Generate all tokens at once.",
        )
    start = state.n_prompt - len(earlier)
    ids = [*state.ids, *unread]
    if not recorder.covers(ids):
        recorder = _read_at_once(model, tensors, recorder, recorder.tokens_read(ids), keep, edits)
    labeled = _with_tokens(model, prepared, recorder.tokens_read(ids), start)
    calls = recorder.passes.merged()
    trace = assemble_trace(model, calls, recorder.stream, labeled, recorder.logits, "qkv" in keep)
    tokens = model_inputs.tokens_of(model.loaded, ids[start:])
    return Generation(_decoded(model, ids[start:]), tokens, trace, start)


def _prepare(
    model: Model, text: str | None, inputs: dict[str, Tensor] | None, max_new_tokens: int
) -> model_inputs.PreparedInputs:
    """The model's input, if the model can continue it.

    Raises:
        AttnVizError: it can't.
    """
    module = model.module
    if not module.can_generate():
        raise AttnVizError(
            f"{model.name} cannot generate text.", "Choose a causal or encoder-decoder model."
        )
    if max_new_tokens < 0:
        raise AttnVizError(
            "The number of tokens to generate cannot be negative.", "Raise max_new_tokens."
        )
    prepared = model_inputs.prepare(model.loaded, text, None, None, None, inputs)
    if prepared.batch != 1:
        raise AttnVizError(
            f"There are {prepared.batch} texts, and generation takes one at a time.",
            "Pass one text, or call generate for each.",
        )
    if prepared.tensors.get("past_key_values") is not None:
        raise AttnVizError(
            "Tracing starts from the beginning of a text, not from a cache.",
            "Omit past_key_values.",
        )
    config = module.generation_config
    starts = (config.decoder_start_token_id, config.bos_token_id)  # type: ignore[union-attr]
    if _is_encoder_decoder(module) and starts == (None, None):
        raise AttnVizError(
            f"{model.name} has no decoder start token.",
            "Set decoder_start_token_id in its generation_config.json.",
        )
    return prepared


def _is_encoder_decoder(module: PreTrainedModel) -> bool:
    return bool(getattr(module.config, "is_encoder_decoder", False))


def _decoded(model: Model, ids: Sequence[int]) -> str:
    """A continuation as text; without a tokenizer its ids."""
    if model.tokenizer is None:
        return " ".join(map(str, ids))
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def _with_tokens(
    model: Model, prepared: model_inputs.PreparedInputs, read: Sequence[int], start: int
) -> model_inputs.PreparedInputs:
    """The input with the tokens that were read, prompt and continuation."""
    if _is_encoder_decoder(model.module):
        target = model_inputs.tokens_of(model.loaded, read)
        return model_inputs.with_tokens(prepared, prepared.tokens, target)
    prompt = prepared.tokens
    if [t.id for t in prompt] != list(read[:start]):  # some models prepend tokens of their own
        prompt = model_inputs.tokens_of(model.loaded, read[:start])
    rest = model_inputs.tokens_of(model.loaded, read[start:])
    return model_inputs.with_tokens(prepared, (*prompt, *rest), ())


def _read_at_once(
    model: Model,
    tensors: dict[str, Any],
    generation: GenerationRecorder,
    read: Sequence[int],
    keep: Sequence[str],
    edits: Sequence[Edit],
) -> GenerationRecorder:
    """Reads a whole text in one pass, for models whose passes don't add up to it.

    Raises:
        AttnVizError: that pass has no row for each token either, or predicts something else.
    """
    module = model.module
    ids = tensors.get("decoder_input_ids" if _is_encoder_decoder(module) else "input_ids")
    n_given = 1 if ids is None else ids.shape[1]
    state = GenerationState(0, (), True, None)
    with recording_generation(model, keep, edits, state) as recorder:
        module.generate(  # type: ignore[operator]
            **_append(module, tensors, read[n_given:]),
            **{
                **generation_settings(module, False),
                "stopping_criteria": StoppingCriteriaList([state]),
                "max_new_tokens": 1,
            },
        )
    is_complete = state.ids == list(read) and recorder.covers(read)
    if not is_complete or not recorder.agrees(generation):
        raise AttnVizError(
            f"{model.name} reads a text differently while generating: no trace can show both.",
            "Trace the finished text instead.",
        )
    return recorder


def _with_mask(module: PreTrainedModel, tensors: dict[str, Any]) -> dict[str, Any]:
    """The input with the mask that transformers would make for it, which hides padding.

    Made here from the prompt alone: a generated token is visible whatever its id is. A text whose
    padding token is also its end token has no padding; transformers can't know that, since the
    end tokens are hidden from it (see `generation_settings`).
    """
    ids = tensors.get("input_ids")
    takes_mask = "attention_mask" in inspect.signature(module.forward).parameters
    takes_mask = takes_mask and not overrides_generate(module)
    if not takes_mask or ids is None or ids.ndim != 2 or tensors.get("attention_mask") is not None:
        return tensors
    pad = module.generation_config.pad_token_id  # type: ignore[union-attr]
    has_padding = pad is not None and pad not in end_tokens(module)
    mask = ids.ne(pad).long() if has_padding else torch.ones_like(ids)
    return {**tensors, "attention_mask": mask}


def _append(
    module: PreTrainedModel, tensors: dict[str, Any], new_ids: Sequence[int]
) -> dict[str, Any]:
    """The input with more tokens after it."""
    if not new_ids:
        return tensors
    encdec = _is_encoder_decoder(module)
    name = "decoder_input_ids" if encdec else "input_ids"
    device = next(t.device for t in tensors.values() if isinstance(t, Tensor))
    ids = tensors.get(name)
    if ids is None:
        config = module.generation_config
        start = config.decoder_start_token_id if encdec else None  # type: ignore[union-attr]
        start = config.bos_token_id if start is None else start  # type: ignore[union-attr]
        ids = torch.tensor([[start]], device=device)
    longer = {k: v for k, v in tensors.items() if k != name}
    for _ in new_ids:  # masks, segments and positions continue as they do in a generation
        longer = module._update_model_kwargs_for_generation(  # type: ignore[operator]
            ModelOutput(), longer, is_encoder_decoder=encdec
        )
    longer = {k: v for k, v in longer.items() if k in tensors}
    if not encdec:
        for k, t in longer.items():
            if isinstance(t, Tensor) and t.shape == ids.shape and t is tensors[k]:
                longer[k] = torch.cat([t, t[:, -1:].expand(-1, len(new_ids))], dim=1)
    new = torch.tensor([list(new_ids)], dtype=ids.dtype, device=device)
    return {**longer, name: torch.cat([ids, new], dim=1)}
