"""What a model predicts: decided once, from its class and from what its forward pass gave."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace.structure import is_causal_lm

# "next": the token after a position (of the target, where there is one). "fill": the token at a
# position. "class": of the whole input. "label": of each token. "value": numbers, not choices.
Task = Literal["next", "fill", "class", "label", "value", "none"]

_CLASS = re.compile(r"(Sequence|Image|Audio|Video)Classification|NextSentence|MultipleChoice")
_LABEL = re.compile(r"(Token|AudioFrame)Classification|ForCTC")
_FILL = re.compile(r"MaskedLM|PreTraining")  # vision models are pretrained too, without words
NO_HEAD = "Its checkpoint has no language-model head."


@dataclass(frozen=True)
class Prediction:
    """One token, class or label that the model thinks possible."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True)
class PredictionHead:
    """How a model's logits are read.

    Attributes:
        names: of what is predicted: a tokenizer, or each class's name.
        mask_token_id: the token that a "fill" model is asked about.
        independent: each class is likely or not by itself (multi-label), not one among all.
        reason: why nothing is predicted, where the task is "none".
    """

    task: Task = "none"
    names: PreTrainedTokenizerBase | Mapping[int, str] | None = None
    mask_token_id: int | None = None
    independent: bool = False
    reason: str = NO_HEAD

    def predict(
        self, logits: Tensor | None, tokens: Sequence[Token], position: int | None, k: int
    ) -> tuple[Prediction, ...]:
        """The k likeliest, best first.

        Args:
            logits: of one item: (n, choices), (1, choices) of the last position, or (choices,).
            tokens: those whose positions the logits are of. position: see ``Trace.predictions``.

        Raises:
            AttnVizError: nothing is predicted, or not at that position.
        """
        if logits is None or self.task == "none":
            raise AttnVizError("This model predicts no tokens.", self.reason)
        if self.task == "value":
            values = ", ".join(f"{float(x):.4g}" for x in logits.reshape(-1)[:8])
            raise AttnVizError(f"This model gives numbers, not choices: {values}.")
        row = logits if logits.ndim == 1 else logits[self._place(len(logits), tokens, position)]
        row = row.float()
        probabilities = torch.sigmoid(row) if self.independent else torch.softmax(row, dim=-1)
        top = torch.topk(probabilities, min(k, len(probabilities)))
        return tuple(
            Prediction(self._word(int(i)), int(i), float(p))
            for p, i in zip(top.values, top.indices, strict=True)
        )

    def _place(self, n: int, tokens: Sequence[Token], position: int | None) -> int:
        """Which of n rows of logits."""
        if position is None and self.task == "label":
            raise AttnVizError("This model labels each token.", "Name a position.")
        if position is None and self.task == "fill":
            masked = (i for i, t in enumerate(tokens) if t.id == self.mask_token_id)
            position = next(masked, None)
        if position is None:
            return -1
        last_alone = n == 1 and len(tokens) > 1
        if last_alone and position in (-1, len(tokens) - 1):
            return -1
        if last_alone or not -n <= position < n:
            raise AttnVizError(
                f"The logits of position {position} were not kept.",
                'Trace with keep=("qkv", "residual", "logits").',
            )
        return position

    def _word(self, id: int) -> str:
        if self.names is None:
            return str(id)
        if isinstance(self.names, Mapping):
            return str(self.names.get(id, id))
        return str(self.names.decode([id]))


def continues_text(module: PreTrainedModel) -> bool:
    """Whether a decoder predicts next tokens, so that its last position's logits may do."""
    name = type(module).__name__
    return is_causal_lm(module) and not (_CLASS.search(name) or _LABEL.search(name))


def head_of(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, output: Any
) -> tuple[PredictionHead, Tensor | None]:
    """How the logits of a forward pass are read, and the first item's, (n, choices) or (choices,).

    Args:
        output: what the module gave, with its whole batch.
    """
    config, name = module.config, type(module).__name__
    logits = getattr(output, "logits", None)
    if logits is None:
        logits = getattr(output, "prediction_logits", None)  # BERT's pretraining
    if not isinstance(logits, Tensor):
        if getattr(output, "start_logits", None) is not None:
            return PredictionHead(reason="It marks where an answer begins and ends."), None
        return PredictionHead(), None
    first = logits[0] if logits.ndim > 1 else logits
    if _CLASS.search(name) or _LABEL.search(name):
        labels = {} if "MultipleChoice" in name else dict(config.id2label or {})
        if "ForCTC" in name:  # a letter for each frame
            return PredictionHead("label", tokenizer), first
        kind = getattr(config, "problem_type", None)
        if kind == "regression" or (logits.shape[-1] == 1 and not _LABEL.search(name)):
            return PredictionHead("value"), first
        several = kind == "multi_label_classification"
        task: Task = "label" if _LABEL.search(name) else "class"
        return PredictionHead(task, labels, independent=several), first
    if logits.ndim == 3 and (module.can_generate() or _speaks(module, logits)):
        decodes = getattr(config, "is_encoder_decoder", False) or continues_text(module)
        if decodes and not _FILL.search(name):
            return PredictionHead("next", tokenizer), first
        return PredictionHead("fill", tokenizer, getattr(tokenizer, "mask_token_id", None)), first
    n_labels = getattr(config, "num_labels", None)
    if logits.ndim == 2 and logits.shape[-1] == n_labels and not _FILL.search(name):
        return PredictionHead("class", dict(config.id2label or {})), first
    return PredictionHead(reason="What it gives are neither tokens nor classes."), first


def _speaks(module: PreTrainedModel, logits: Tensor) -> bool:
    """Whether the logits are over the vocabulary."""
    text = module.config.get_text_config()
    name = type(module).__name__
    return "MaskedLM" in name or logits.shape[-1] == getattr(text, "vocab_size", None)
