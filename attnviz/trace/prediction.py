"""What a model predicts: decided once, from its class and the output of its forward pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.models.tokenizer_calls import spelling
from attnviz.models.tokens import Token
from attnviz.trace.structure import is_causal_lm

# "next": the token after a position (of the target, if there is one). "fill": the token at a
# position. "class": of the whole input. "label": of each token. "value": numbers, not choices.
Task = Literal["next", "fill", "class", "label", "value", "none"]

_CLASS = re.compile(r"(Sequence|Image|Audio|Video)Classification|NextSentence|MultipleChoice")
_LABEL = re.compile(r"(Token|AudioFrame)Classification|ForCTC")
_FILL = re.compile(r"MaskedLM|PreTraining")  # also of vision models, which have no tokens
NO_HEAD = "Its checkpoint has no language-model head."


@dataclass(frozen=True)
class Prediction:
    """A predicted token, class or label with its probability."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True)
class PredictionHead:
    """How to read a model's logits.

    Attributes:
        names: names of the choices: a tokenizer, or the name of each class.
        mask_token_id: the token that a "fill" model predicts.
        independent: multi-label: each class has a probability of its own.
        reason: why nothing is predicted, if the task is "none".
    """

    task: Task = "none"
    names: PreTrainedTokenizerBase | Mapping[int, str] | None = None
    mask_token_id: int | None = None
    independent: bool = False
    reason: str = NO_HEAD

    def predict(
        self, logits: Tensor | None, tokens: Sequence[Token], position: int | None, k: int
    ) -> tuple[Prediction, ...]:
        """The k most probable choices, best first; as ``row`` otherwise."""
        row = self.row(logits, tokens, position)
        probabilities = torch.sigmoid(row) if self.independent else torch.softmax(row, dim=-1)
        top = torch.topk(probabilities, min(k, len(probabilities)))
        return tuple(
            Prediction(self._name(int(i)), int(i), float(p))
            for p, i in zip(top.values, top.indices, strict=True)
        )

    def row(self, logits: Tensor | None, tokens: Sequence[Token], position: int | None) -> Tensor:
        """(choices,) the logits at a position, in float32.

        Args:
            logits: of one item: (n, choices), (1, choices) of the last position, or (choices,).
            tokens: the tokens at the logits' positions. position: see ``Trace.predictions``.

        Raises:
            AttnVizError: nothing is predicted, or not at that position.
        """
        if logits is None or self.task == "none":
            raise AttnVizError("This model predicts no tokens.", self.reason)
        if self.task == "value":
            values = ", ".join(f"{float(x):.4g}" for x in logits.reshape(-1)[:8])
            raise AttnVizError(f"This is a regression model; it predicts {values}.")
        row = logits if logits.ndim == 1 else logits[self._index(len(logits), tokens, position)]
        return row.float()

    def choice(self, answer: str | int) -> int:
        """The index of a choice among the logits, by its index or its name.

        A token may be written with or without the space that begins it, but means one or the other:
        " Mary" is not "Mary".

        Raises:
            AttnVizError: there is no such choice, or a text is several tokens.
        """
        if isinstance(answer, int):
            return answer
        if isinstance(self.names, Mapping):
            found = [id for id, name in self.names.items() if str(name) == answer]
            if not found:
                known = ", ".join(map(str, list(self.names.values())[:8]))
                raise AttnVizError(f"There is no class {answer!r}.", f"There are {known}.")
            return found[0]
        if self.names is None:
            raise AttnVizError("This model has no tokenizer.", "Give the answer by its id.")
        return _one_token(self.names, answer)

    def _index(self, n: int, tokens: Sequence[Token], position: int | None) -> int:
        """The index of a position among n rows of logits."""
        if position is None and self.task == "label":
            raise AttnVizError("This model labels each token.", "Pass a position.")
        if position is None and self.task == "fill":
            masked = (i for i, t in enumerate(tokens) if t.id == self.mask_token_id)
            position = next(masked, None)
        if position is None:
            return -1
        only_last = n == 1 and len(tokens) > 1
        if only_last and position in (-1, len(tokens) - 1):
            return -1
        if only_last or not -n <= position < n:
            raise AttnVizError(
                f"The logits of position {position} were not kept.",
                'Trace with keep=("qkv", "residual", "logits").',
            )
        return position

    def _name(self, id: int) -> str:
        if self.names is None:
            return str(id)
        if isinstance(self.names, Mapping):
            return str(self.names.get(id, id))
        return str(self.names.decode([id]))


def _one_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The token that stands for exactly this text."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    # Some tokenizers put a space of their own before a text: "▁", "▁Mary", or "▁Mary" for "Mary".
    exact = [i for i in ids if spelling(tokenizer, i) == text]
    if len(ids) == 1:
        return ids[0]
    if exact and all(not spelling(tokenizer, i).strip() for i in ids if i not in exact):
        return exact[0]
    parts = ", ".join(repr(spelling(tokenizer, i)) for i in ids) or "none"
    raise AttnVizError(
        f"An answer is one token, and {text!r} is {len(ids)}: {parts}.",
        "Choose another, perhaps with a space before it.",
    )


def continues_text(module: PreTrainedModel) -> bool:
    """Whether the model predicts next tokens, so that the last position's logits may suffice."""
    name = type(module).__name__
    return is_causal_lm(module) and not (_CLASS.search(name) or _LABEL.search(name))


def prediction_head(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, output: Any
) -> tuple[PredictionHead, Tensor | None]:
    """How to read the logits of a forward pass, and the first item's: (n, choices) or (choices,).

    Args:
        output: the module's output for a whole batch.
    """
    config, name = module.config, type(module).__name__
    logits = getattr(output, "logits", None)
    if logits is None:
        logits = getattr(output, "prediction_logits", None)  # BERT's pretraining
    if not isinstance(logits, Tensor):
        if getattr(output, "start_logits", None) is not None:
            return PredictionHead(reason="It predicts where an answer starts and ends."), None
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
    if logits.ndim == 3 and (module.can_generate() or _is_over_vocabulary(module, logits)):
        decodes = getattr(config, "is_encoder_decoder", False) or continues_text(module)
        if decodes and not _FILL.search(name):
            return PredictionHead("next", tokenizer), first
        return PredictionHead("fill", tokenizer, getattr(tokenizer, "mask_token_id", None)), first
    n_labels = getattr(config, "num_labels", None)
    if logits.ndim == 2 and logits.shape[-1] == n_labels and not _FILL.search(name):
        return PredictionHead("class", dict(config.id2label or {})), first
    return PredictionHead(reason="Its outputs are neither tokens nor classes."), first


def _is_over_vocabulary(module: PreTrainedModel, logits: Tensor) -> bool:
    """Whether the logits are over the vocabulary."""
    text = module.config.get_text_config()
    name = type(module).__name__
    return "MaskedLM" in name or logits.shape[-1] == getattr(text, "vocab_size", None)
