"""What a training came to, in a sentence: which head took up its role, and at which step.

"Layer 1 head 2 became an induction head at step 300: its induction score rose from 0.14 to 0.91
between steps 100 and 400 (uniform attention gives 0.08) while the loss fell from 3.1 to 0.37."
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from attnviz.analysis.emergence import Head, Rise, emerged, find_rise, least_score, strongest
from attnviz.train.events import Event, of_kind
from attnviz.train.job_scores import HeadScores, Scorer

ALSO = 2  # further heads that are named
LOSSES = 5  # that are averaged: one batch's says little
NEGLIGIBLE_BITS = 0.005  # of change


@dataclass(frozen=True)
class ScoreHistory:
    """Every head's score at every kept step.

    Attributes:
        steps: ascending. scores: by head, one for each step. uniform: by head.
    """

    scorer: Scorer
    steps: tuple[int, ...]
    scores: Mapping[Head, tuple[float, ...]]
    uniform: Mapping[Head, float]

    @classmethod
    def of(
        cls, scorer: Scorer, steps: Sequence[int], measured: Sequence[HeadScores]
    ) -> ScoreHistory:
        """From the scores at each step."""
        heads = [h for h in measured[-1].scores if all(h in one.scores for one in measured)]
        return cls(
            scorer,
            tuple(steps),
            {head: tuple(one.scores[head] for one in measured) for head in heads},
            {head: measured[-1].uniform[head] for head in heads},
        )

    @property
    def emerged(self) -> list[tuple[Head, Rise]]:
        """The heads that took up the role, the highest score first; none where there is no role."""
        if not self.scorer.role:
            return []
        return emerged(self.steps, self.scores, self.uniform)

    @property
    def telling(self) -> Head | None:
        """The head to look at: the first that emerged, else the one with the highest score."""
        found = self.emerged
        return found[0][0] if found else strongest(self.scores)


def payoff(history: ScoreHistory, events: tuple[Event, ...], name: Callable[[Head], str]) -> str:
    """The sentence; empty before there is anything to tell.

    Args:
        name: of a head, such as "Layer 1 head 2".
    """
    head = history.telling
    if head is None or len(history.steps) < 2:
        return ""
    if not history.scorer.role:
        return _change(history, head, name(head))
    found = history.emerged
    if not found:
        return _none_yet(history, head, name(head))
    (head, rise), others = found[0], found[1:]
    title, role = history.scorer.title.lower(), history.scorer.role
    loss = _loss(events, rise)
    sentence = (
        f"{name(head)} became {role} at step {rise.step:,}: its {title} rose from "
        f"{rise.before:.2f} to {rise.after:.2f} between steps {rise.start:,} and {rise.end:,} "
        f"(uniform attention gives {history.uniform[head]:.2f}){loss}."
    )
    return sentence + _also(others, name)


def loss_near(events: tuple[Event, ...], step: int) -> float | None:
    """The training loss around ``step``: the mean of the ``LOSSES`` logged nearest to it."""
    known = [(e["step"], e["loss"]) for e in of_kind(events, "step") if e.get("loss") is not None]
    nearest = sorted(known, key=lambda one: abs(one[0] - step))[:LOSSES]
    return sum(loss for _, loss in nearest) / len(nearest) if nearest else None


def _loss(events: tuple[Event, ...], rise: Rise) -> str:
    before, after = loss_near(events, rise.start), loss_near(events, rise.end)
    if before is None or after is None:
        return ""
    verb = "fell" if after < before else "went"
    return f" while the loss {verb} from {before:.2g} to {after:.2g}"


def _also(others: list[tuple[Head, Rise]], name: Callable[[Head], str]) -> str:
    if not others:
        return ""
    parts = [f"{_lower(name(head))} (step {rise.step:,})" for head, rise in others[:ALSO]]
    if (more := len(others) - ALSO) > 0:
        parts.append(f"{more} more")
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f" So did {listed}."


def _none_yet(history: ScoreHistory, head: Head, name: str) -> str:
    score, uniform = history.scores[head][-1], history.uniform[head]
    title, role = history.scorer.title.lower(), history.scorer.role
    if score >= least_score(uniform):
        return (
            f"{name} was {role} before the first step: its {title} is {score:.2f} "
            f"(uniform attention gives {uniform:.2f})."
        )
    return (
        f"No head has become {role}. {name} comes closest: its {title} is {score:.2f}; "
        f"it takes {least_score(uniform):.2f}, and uniform attention gives {uniform:.2f}."
    )


def _change(history: ScoreHistory, head: Head, name: str) -> str:
    scores = history.scores[head]
    rise = find_rise(history.steps, scores)
    if rise is None or scores[-1] < NEGLIGIBLE_BITS:
        return (
            "No head's attention on the probe example has changed by more than "
            f"{NEGLIGIBLE_BITS:g} bits."
        )
    return (
        f"{name} changed most: its attention on the probe example moved {scores[-1]:.2g} bits "
        f"from where it started, half of that by step {rise.step:,}."
    )


def _lower(name: str) -> str:
    """Within a sentence: "layer 1 head 2"."""
    return name[:1].lower() + name[1:]
