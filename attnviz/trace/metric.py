"""One number of a model's prediction, to see what an edit changes.

    metric = logit_difference(" Mary", " John")
    before = model.measure(text, metric)
    after = model.measure(text, metric, edits=[AblateHead(23, 0)])

A difference of two logits is the default choice: a single raw logit has no meaning up to a constant
that is added to all of them, and a probability hides what makes an answer less likely.
Zhang & Nanda, arXiv 2309.16042; Heimersheim & Nanda, arXiv 2404.15255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from attnviz.errors import AttnVizError

if TYPE_CHECKING:
    from attnviz.trace.trace import Trace

Kind = Literal["logit_difference", "log_probability", "probability", "rank", "kl"]


@dataclass(frozen=True)
class Metric:
    """A number of the prediction at one position.

    Attributes:
        answer: a token by its text or id, or a class by its name or index; None for "kl" alone.
        foil: what the answer's logit is compared with; by default the likeliest other choice of the
            model without edits.
        position: as ``Trace.predictions`` takes it.
    """

    kind: Kind
    answer: str | int | None = None
    foil: str | int | None = None
    position: int | None = None

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with the prediction of the model without edits."""
        return self.kind == "kl" or (self.kind == "logit_difference" and self.foil is None)

    def bind(self, trace: Trace) -> BoundMetric:
        """The metric of one input, from its trace; if it ``needs_reference``, without edits.

        Raises:
            AttnVizError: an answer that is no choice of the model, or several tokens; a position
                without prediction.
        """
        logits = trace.logits_at(self.position)
        answer = None if self.answer is None else _choice(trace, self.answer, len(logits))
        foil = None if self.foil is None else _choice(trace, self.foil, len(logits))
        if self.kind == "logit_difference" and foil is None:
            others = logits.clone()
            others[answer] = -torch.inf
            foil = int(others.argmax())
        if answer is not None and answer == foil:
            raise AttnVizError("The answer and its foil are the same.", "Choose another foil.")
        reference = torch.log_softmax(logits.double(), dim=-1) if self.kind == "kl" else None
        return BoundMetric(self.kind, answer, foil, self.position, reference)


@dataclass(frozen=True, eq=False)
class BoundMetric:
    """A metric of one input: its choices are indices among the logits.

    Attributes:
        reference: (choices,) log-probabilities without edits, for "kl".
    """

    kind: Kind
    answer: int | None
    foil: int | None
    position: int | None
    reference: Tensor | None

    def of(self, trace: Trace) -> float:
        """The metric of a trace of the same input, with edits or without."""
        return float(self.value(trace.logits_at(self.position)))

    def value(self, logits: Tensor) -> Tensor:
        """The metric, a scalar, of (choices,) logits. "rank" has no gradient."""
        logits = logits.double()
        if self.kind == "kl":
            assert self.reference is not None
            after = torch.log_softmax(logits, dim=-1)
            reference = self.reference.to(logits.device)
            return torch.sum(reference.exp() * (reference - after))
        if self.kind == "logit_difference":
            return logits[self.answer] - logits[self.foil]
        if self.kind == "rank":
            return 1 + (logits > logits[self.answer]).sum().double()
        log_probability = torch.log_softmax(logits, dim=-1)[self.answer]
        return log_probability.exp() if self.kind == "probability" else log_probability


def logit_difference(
    answer: str | int, foil: str | int | None = None, position: int | None = None
) -> Metric:
    """The answer's logit minus the foil's; without a foil, the likeliest other choice's."""
    return Metric("logit_difference", answer, foil, position)


def log_probability(answer: str | int, position: int | None = None) -> Metric:
    """The natural logarithm of the answer's probability, in nats."""
    return Metric("log_probability", answer, position=position)


def probability(answer: str | int, position: int | None = None) -> Metric:
    """The answer's probability, 0 to 1."""
    return Metric("probability", answer, position=position)


def rank(answer: str | int, position: int | None = None) -> Metric:
    """The answer's rank among all choices: 1 for the likeliest."""
    return Metric("rank", answer, position=position)


def kl(position: int | None = None) -> Metric:
    """KL(before || after): how far an edit moves the whole prediction, in nats."""
    return Metric("kl", position=position)


def _choice(trace: Trace, answer: str | int, n: int) -> int:
    index = trace.choice(answer)
    if not 0 <= index < n:
        raise AttnVizError(f"There is no choice {index}.", f"They run from 0 to {n - 1}.")
    return index
