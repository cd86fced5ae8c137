"""What transformers' own ``generate`` is asked for, so that a trace means the same for all models.

A checkpoint brings generation settings of its own: caches, chunks, candidates of an assistant,
penalties, guidance. None of them has a say here. What stays the checkpoint's are the ids of its
special tokens, and which tokens it may write: those that it forbids, and the one that it begins
with.
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

# Scores are divided by a temperature: by a smaller one they may leave float32.
_COLDEST = 1e-6

_THE_CHECKPOINTS = {
    "bos_token_id",
    "pad_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "transformers_version",
}


def settings(module: PreTrainedModel, use_cache: bool) -> dict[str, Any]:
    """Every generation setting, so that none of the checkpoint's is left: one token a pass.

    The end of a text is not transformers' to see: it stops there before the last token is read.
    """
    names = [name for name in vars(GenerationConfig()) if not name.startswith("_")]
    options: dict[str, Any] = {name: None for name in names if name not in _THE_CHECKPOINTS}
    options |= {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "min_length": 0}
    options |= {"use_cache": use_cache, "disable_compile": True}
    if not overrides_generate(module):  # what overrides it may set the end itself (BLIP)
        options["eos_token_id"] = None
    return options


def overrides_generate(module: PreTrainedModel) -> bool:
    """Whether a model prepares its input itself and has a part of it write (BLIP, Kosmos-2)."""
    return type(module).generate is not GenerationMixin.generate  # type: ignore[attr-defined]


def ends_of(module: PreTrainedModel) -> Collection[int]:
    """Ids of the tokens that end a text, for whichever part of the model writes it."""
    found: set[int] = set()
    for part in module.modules() if overrides_generate(module) else [module]:
        ends = getattr(getattr(part, "generation_config", None), "eos_token_id", None)
        found |= set(ends if isinstance(ends, list) else [ends]) - {None}
    return found


def logits_processors(
    module: PreTrainedModel,
    n_after: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
) -> LogitsProcessorList:
    """How a token is chosen from the scores, in transformers' order.

    Args:
        n_after: how many tokens of the input were written before.

    Raises:
        AttnVizError: settings out of range.
    """
    possible = temperature == 0 or _COLDEST <= temperature < math.inf  # NaN is neither
    if not possible or (top_k or 0) < 0 or not 0 < (1.0 if top_p is None else top_p) <= 1:
        raise AttnVizError(
            "These settings draw no tokens.",
            f"temperature is 0 or at least {_COLDEST:g}, top_k is 0 or more, top_p is above 0 and "
            "at most 1.",
        )
    steps = LogitsProcessorList()
    config = module.generation_config
    first = config.begin_suppress_tokens  # type: ignore[union-attr]
    if first is not None:
        steps.append(_FirstToken(first, n_after, config.forced_bos_token_id is not None))  # type: ignore[union-attr]
    if temperature > 0:
        if temperature != 1:
            steps.append(TemperatureLogitsWarper(float(temperature)))
        if top_k:
            steps.append(TopKLogitsWarper(int(top_k)))
        if top_p is not None and top_p < 1:
            steps.append(TopPLogitsWarper(float(top_p)))
        steps.append(_SampleToken(seed))
    return steps


class _FirstToken(LogitsProcessor):
    """Forbids what a text must not begin with, also where it is gone on with."""

    def __init__(self, tokens: list[int], n_after: int, forced: bool) -> None:
        self._tokens = tokens
        self._n_after = n_after
        self._forced = forced
        self._begin: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._begin is None:
            n = input_ids.shape[1] - self._n_after
            self._begin = n + (n <= 1 and self._forced)  # after the forced one
        suppress = SuppressTokensAtBeginLogitsProcessor(
            self._tokens, self._begin, device=str(scores.device)
        )
        return suppress(input_ids, scores)


class _SampleToken(LogitsProcessor):
    """Draws a token and leaves no other one possible.

    The draw depends on the seed and the token's position alone. It has a generator of its own:
    torch's is one for all threads.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        place = f"{self._seed} {input_ids.shape[1]}".encode()
        digest = hashlib.blake2b(place, digest_size=8).digest()
        chance = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        odds = torch.softmax(scores.float(), dim=-1).cpu()  # (1, vocabulary)
        drawn = torch.multinomial(odds, 1, generator=chance).to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)


class Progress(StoppingCriteria):
    """Follows the writing token by token, and ends it.

    A decoder's last token has to be read as well, which is what a further pass does; the token
    that this pass gives is dropped, and nobody hears of it. An encoder-decoder's is not read.

    Args:
        n: the most tokens to write. ends: tokens that end a text.
        reads_last: whether the last token is to be read.
        listen: is shown the text with each new token, and may stop.

    Attributes:
        ids: the text, once the first pass is done: what was read at first, and what was written.
        n_first: how many tokens were read at first.
        over: whether the writing is done; what transformers runs after that is no part of it.
    """

    def __init__(
        self,
        n: int,
        ends: Collection[int],
        reads_last: bool,
        listen: Callable[[Tensor], bool] | None,
    ) -> None:
        self.ids: list[int] = []
        self.n_first = 0
        self.over = False
        self._n = n
        self._ends = ends
        self._reads_last = reads_last
        self._listen = listen
        self._written = 0
        self._last = n == 0  # nothing more is to be written

    @property
    def n_passes(self) -> int:
        """How many passes it takes at most."""
        return self._n + 1 if self._reads_last else max(1, self._n)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        if not self.n_first:
            self.ids = input_ids[0, :-1].tolist()
            self.n_first = len(self.ids)
        if self._last:
            self.over = True
        else:
            self._written += 1
            self.ids = input_ids[0].tolist()
            stopped = self._listen is not None and bool(self._listen(input_ids[0]))
            self._last = stopped or self.ids[-1] in self._ends or self._written == self._n
            self.over = self._last and not self._reads_last
        return torch.full((len(input_ids),), self.over, device=input_ids.device)
