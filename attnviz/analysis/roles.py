"""What a head does, in words that follow from its metrics by stated rules.

    describe(metrics, baseline).sentence
    # "Mostly attends to the first token (0.81; uniform attention would give 0.23)."

A role is named only where the metric is at least ``LEAST`` and at least ``TIMES`` times what
uniform attention over the visible keys gives, so a short text, where every key has a large share,
names nothing by accident. It is a statement about this text; whether the head matters to the
model's output is another question, which edits answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnviz.analysis.heads import HeadMetrics

LEAST = 0.3  # share of the attention
MOSTLY = 0.5  # from here on "mostly", below "often"
TIMES = 3.0  # the baseline
EVEN = 0.9  # of uniform attention's entropy: from here on "almost evenly"


@dataclass(frozen=True)
class Role:
    """A kind of head.

    Attributes:
        name: the field's name for it.
        metric: the share of the attention that decides, a name in ``metrics.METRICS``.
        attends: what such a head attends to, to follow "Mostly attends to".
        why: what it is good for, in a sentence. Empty where that is not known.
    """

    name: str
    metric: str
    attends: str
    why: str


ROLES = (
    Role(
        "induction head",
        "induction",
        "the token after an earlier copy of the query's token",
        "It continues repeated sequences: A B … A is followed by B (Olsson et al. 2022).",
    ),
    Role(
        "previous-token head",
        "previous",
        "the token before",
        "It copies information from each token's predecessor, which induction heads rely on.",
    ),
    Role(
        "attention sink",
        "first",
        "the first token",
        "A head with nothing to add puts its weight on the first token, whose value is often small "
        "(Xiao et al. 2023).",
    ),
    Role("current-token head", "itself", "the query's own position", ""),
)


@dataclass(frozen=True)
class Evidence:
    """A metric beside what uniform attention gives."""

    metric: str
    value: float
    baseline: float


@dataclass(frozen=True)
class HeadDescription:
    """A head in words.

    Attributes:
        role: the strongest that its metrics name; None if they name none.
        sentence: what it attends to, with the numbers.
        evidence: the metrics that decided, the strongest first.
    """

    role: Role | None
    sentence: str
    evidence: tuple[Evidence, ...]


def describe(metrics: HeadMetrics, baseline: HeadMetrics) -> HeadDescription:
    """A head in words.

    Args:
        baseline: the same head's metrics under uniform attention, from ``heads.baselines``.
    """
    named = named_roles(metrics, baseline)
    if named:
        role, evidence = named[0]
        how = "Mostly" if evidence.value >= MOSTLY else "Often"
        sentence = f"{how} attends to {role.attends} {_numbers(evidence)}."
        if len(named) > 1:
            other, more = named[1]
            sentence += f" Also attends to {other.attends} {_numbers(more)}."
        return HeadDescription(role, sentence, tuple(found for _, found in named))
    entropy, even = metrics.values.get("entropy"), baseline.values.get("entropy")
    top, level = metrics.values.get("max_weight"), baseline.values.get("max_weight")
    if entropy is None or top is None:
        return HeadDescription(None, "Its metrics are not known.", ())
    if even is not None and even > 0 and entropy >= EVEN * even:
        sentence = (
            f"Attends almost evenly to all visible tokens ({entropy:.2f} bits of entropy; "
            f"uniform attention has {even:.2f})."
        )
        return HeadDescription(None, sentence, (Evidence("entropy", entropy, even),))
    evidence = Evidence("max_weight", top, 0.0 if level is None else level)
    if top >= MOSTLY and (level is None or top >= TIMES * level):
        sentence = f"Concentrates on one token per query {_numbers(evidence)}."
    else:
        sentence = (
            f"No single pattern: it mixes several tokens per query ({entropy:.2f} bits of entropy)."
        )
        evidence = Evidence("entropy", entropy, 0.0 if even is None else even)
    return HeadDescription(None, sentence, (evidence,))


def named_roles(metrics: HeadMetrics, baseline: HeadMetrics) -> list[tuple[Role, Evidence]]:
    """The roles that a head's metrics name, the strongest first."""
    found = []
    for role in ROLES:
        value, uniform = metrics.values.get(role.metric), baseline.values.get(role.metric)
        if value is None or uniform is None:
            continue
        if value >= LEAST and value >= TIMES * uniform:
            found.append((role, Evidence(role.metric, value, uniform)))
    return sorted(found, key=lambda pair: -_excess(pair[1]))


def most_structured(
    metrics: Iterable[HeadMetrics], baselines: Iterable[HeadMetrics]
) -> HeadMetrics | None:
    """The head that departs furthest from uniform attention in a way that has a name.

    Sinks come last: a model has many, and they say little. None without heads.
    """
    best: tuple[float, HeadMetrics] | None = None
    for head, baseline in zip(metrics, baselines, strict=True):
        named = named_roles(head, baseline)
        others = [_excess(found) for role, found in named if role.metric != "first"]
        score = 1 + max(others) if others else 1.0 if named else 0.0
        if best is None or score > best[0]:
            best = score, head
    return None if best is None else best[1]


def _excess(found: Evidence) -> float:
    """How far a share is on its way from uniform attention (0) to all of it (1)."""
    return (found.value - found.baseline) / max(1e-9, 1 - found.baseline)


def _numbers(found: Evidence) -> str:
    return f"({found.value:.2f}; uniform attention would give {found.baseline:.2f})"
