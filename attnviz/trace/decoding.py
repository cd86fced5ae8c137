"""How transformers' ``generate`` is called, so that a generation means the same for all models.

A checkpoint has generation settings of its own: caches, chunks, assistant candidates, penalties,
guidance. None of them applies here. Only the ids of its special tokens are kept, and which tokens
it may generate: those it forbids, and the one it must begin with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    SuppressTokensAtBeginLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from attnviz.errors import AttnVizError

# Dividing the logits by a smaller temperature may overflow float32.
_MIN_TEMPERATURE = 1e-6

# The settings that stay the checkpoint's.
_KEPT_SETTINGS = {
    "bos_token_id",
    "pad_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "transformers_version",
}


def generation_settings(module: PreTrainedModel, use_cache: bool) -> dict[str, Any]:
    """A value for every generation setting, so that none of the checkpoint's applies.

    The end-of-text tokens are hidden from transformers, which would stop before the last token is
    read.
    """
    names = [name for name in vars(GenerationConfig()) if not name.startswith("_")]
    options: dict[str, Any] = {name: None for name in names if name not in _KEPT_SETTINGS}
    options |= {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "min_length": 0}
    options |= {"use_cache": use_cache, "disable_compile": True}
    if not overrides_generate(module):  # a model that overrides it may set the end itself (BLIP)
        options["eos_token_id"] = None
    return options


def overrides_generate(module: PreTrainedModel) -> bool:
    """Whether a model prepares its input itself and a part of it generates (BLIP, Kosmos-2)."""
    return type(module).generate is not GenerationMixin.generate  # type: ignore[attr-defined]


def end_tokens(module: PreTrainedModel) -> Collection[int]:
    """Ids of the tokens that end a text, for whichever part of the model generates it."""
    ids: set[int] = set()
    for part in module.modules() if overrides_generate(module) else [module]:
        ends = getattr(getattr(part, "generation_config", None), "eos_token_id", None)
        ids |= set(ends if isinstance(ends, list) else [ends]) - {None}
    return ids


def logits_processors(
    module: PreTrainedModel,
    n_after: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
) -> LogitsProcessorList:
    """The logits processors that choose a token, in transformers' order.

    Args:
        n_after: how many tokens of the input were generated before.

    Raises:
        AttnVizError: settings out of range.
    """
    valid = temperature == 0 or _MIN_TEMPERATURE <= temperature < math.inf  # NaN is neither
    if not valid or (top_k or 0) < 0 or not 0 < (1.0 if top_p is None else top_p) <= 1:
        raise AttnVizError(
            "These sampling settings are invalid.",
            f"temperature must be 0 or at least {_MIN_TEMPERATURE:g}, top_k is 0 or more, top_p is "
            "above 0 and at most 1.",
        )
    processors = LogitsProcessorList()
    config = module.generation_config
    first = config.begin_suppress_tokens  # type: ignore[union-attr]
    if first is not None:
        processors.append(_SuppressAtBegin(first, n_after, config.forced_bos_token_id is not None))  # type: ignore[union-attr]
    if temperature > 0:
        if temperature != 1:
            processors.append(TemperatureLogitsWarper(float(temperature)))
        if top_k:
            processors.append(TopKLogitsWarper(int(top_k)))
        if top_p is not None and top_p < 1:
            processors.append(TopPLogitsWarper(float(top_p)))
        processors.append(_SampleToken(seed))
    return processors


class _SuppressAtBegin(LogitsProcessor):
    """Suppresses tokens that a text must not begin with, also when it is continued."""

    def __init__(self, tokens: list[int], n_after: int, forced: bool) -> None:
        self._tokens = tokens
        self._n_after = n_after
        self._forced = forced
        self._begin: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._begin is None:
            n = input_ids.shape[1] - self._n_after
            self._begin = n + (n <= 1 and self._forced)  # after the forced token
        suppress = SuppressTokensAtBeginLogitsProcessor(
            self._tokens, self._begin, device=str(scores.device)
        )
        return suppress(input_ids, scores)


class _SampleToken(LogitsProcessor):
    """Samples a token and rules out all others.

    The sample depends only on the seed and the token's position. It has a generator of its own,
    since torch's global one is shared by all threads.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        key = f"{self._seed} {input_ids.shape[1]}".encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        probabilities = torch.softmax(scores.float(), dim=-1).cpu()  # (1, vocabulary)
        sampled = torch.multinomial(probabilities, 1, generator=generator).to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, sampled, 0.0)


class GenerationState(StoppingCriteria):
    """Follows a generation token by token, and ends it.

    A decoder has to read its last token as well. That takes one more pass, whose own token is
    dropped and never reported. The last token of an encoder-decoder is not read.

    Args:
        n: the most tokens to generate. ends: tokens that end a text.
        reads_last: whether the last token is to be read.
        on_token: called with the text after each new token; returning True stops.

    Attributes:
        ids: the text so far, prompt and continuation; empty before the first pass has ended.
        n_prompt: length of the prompt.
        finished: whether the generation is done; passes that transformers runs after that are no
            part of it.
    """

    def __init__(
        self,
        n: int,
        ends: Collection[int],
        reads_last: bool,
        on_token: Callable[[Tensor], bool] | None,
    ) -> None:
        self.ids: list[int] = []
        self.n_prompt = 0
        self.finished = False
        self._n = n
        self._ends = ends
        self._reads_last = reads_last
        self._on_token = on_token
        self._n_new = 0
        self._is_complete = n == 0  # no token is to follow

    @property
    def n_passes(self) -> int:
        """The largest number of passes."""
        return self._n + 1 if self._reads_last else max(1, self._n)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        if not self.n_prompt:
            self.ids = input_ids[0, :-1].tolist()
            self.n_prompt = len(self.ids)
        if self._is_complete:
            self.finished = True
        else:
            self._n_new += 1
            self.ids = input_ids[0].tolist()
            stopped = self._on_token is not None and bool(self._on_token(input_ids[0]))
            ended = self.ids[-1] in self._ends or self._n_new == self._n
            self._is_complete = stopped or ended
            self.finished = self._is_complete and not self._reads_last
        return torch.full((len(input_ids),), self.finished, device=input_ids.device)
