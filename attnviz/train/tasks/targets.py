"""What a head that solves a task attends to: the keys for each query of the probe.

    target = TARGETS["copy"]
    target.keys(Probed(rows, cols))      # for each query, the keys that it needs

`attnviz.analysis.head_scores.target_scores` turns them into a score per head: the mean weight on
these keys, over the queries that have any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from attnviz.trace.structure import Kind
from attnviz.train.tasks.brackets import CLOSE, OPEN
from attnviz.train.tasks.sequences import SEPARATOR

Keys = tuple[frozenset[int], ...]  # for each query
NONE: frozenset[int] = frozenset()


class Probed(NamedTuple):
    """The probe as one layer sees it.

    Attributes:
        rows, cols: the text of each query's and each key's token.
        ink: for each key, whether it is a patch with ink; for images alone.
    """

    rows: Sequence[str]
    cols: Sequence[str]
    ink: Sequence[bool] = ()


@dataclass(frozen=True)
class Target:
    """What a head that solves a task attends to.

    Attributes:
        title: of the score.
        role: completes "Layer 1 head 0 became".
        rule: what the score is, as a sentence without its end.
        kind: the layers whose heads can do this.
        keys: the keys for each query.
    """

    title: str
    role: str
    rule: str
    kind: Kind
    keys: Callable[[Probed], Keys]


def induction(probed: Probed) -> Keys:
    """T(i) = {j <= i: token j - 1 is token i}, see `attnviz.analysis.metrics.induction`."""
    tokens = probed.cols
    return tuple(
        frozenset(j for j in range(1, i + 1) if tokens[j - 1] == tokens[i])
        for i in range(len(probed.rows))
    )


def copied(probed: Probed) -> Keys:
    """T(n + k) = {k}: of ``n`` letters and a separator, the letter to be written next."""
    return _written(probed, lambda letters: [{k} for k in range(len(letters))])


def reversed_(probed: Probed) -> Keys:
    """T(n + k) = {n - 1 - k}: the letters from the last to the first."""
    return _written(probed, lambda letters: [{k} for k in range(len(letters))][::-1])


def sorted_(probed: Probed) -> Keys:
    """T(n + k) = the letters equal to the k-th in the alphabet's order."""
    return _written(
        probed,
        lambda letters: [
            {j for j, other in enumerate(letters) if other == letter} for letter in sorted(letters)
        ],
    )


def opened(probed: Probed) -> Keys:
    """T(n + k) = the opening bracket that the k-th bracket of the answer closes."""

    def unclosed(given: Sequence[str]) -> list[set[int]]:
        stack: list[int] = []
        for j, bracket in enumerate(given):
            if bracket in OPEN:
                stack.append(j)
            elif bracket in CLOSE and stack:
                stack.pop()
        return [{j} for j in reversed(stack)]

    return _written(probed, unclosed, "=")


def summands(probed: Probed) -> Keys:
    """T("=") = both numbers of "a + b ="."""
    numbers = frozenset(j for j, token in enumerate(probed.cols) if token.isdecimal())
    return tuple(
        frozenset(j for j in numbers if j < i) if token == "=" else NONE
        for i, token in enumerate(probed.rows)
    )


def aligned(probed: Probed) -> Keys:
    """T(i) = the source characters that the character after row i comes from.

    The same digit of the year; all letters (or digits) of the month and of the day. A character
    between these has none, nor has the last row.
    """
    source = _fields(probed.cols)
    target = _fields(probed.rows[1:])  # the first row is the start token
    return (
        *(source.get(field, NONE) for field in _by_position(target, len(probed.rows) - 1)),
        NONE,
    )


def inked(probed: Probed) -> Keys:
    """T([CLS]) = the patches with ink."""
    ink = frozenset(j for j, has_ink in enumerate(probed.ink) if has_ink)
    return (ink, *[NONE] * (len(probed.rows) - 1))


def _written(
    probed: Probed,
    answer: Callable[[Sequence[str]], Sequence[set[int]]],
    separator: str = SEPARATOR,
) -> Keys:
    """The keys of ``answer`` for the queries from the separator on; none without a separator."""
    tokens = list(probed.cols)
    keys: list[frozenset[int]] = [NONE] * len(probed.rows)
    if separator in tokens:
        n = tokens.index(separator)
        for k, wanted in enumerate(answer(tokens[:n])):
            if n + k < len(keys):
                keys[n + k] = frozenset(wanted)
    return tuple(keys)


def _fields(tokens: Sequence[str]) -> dict[tuple[str, int], frozenset[int]]:
    """The positions of a date's parts: of each digit of the year, of the month and of the day."""
    text = "".join(token if len(token) == 1 else "\0" for token in tokens)  # "</s>" is one place
    order = ("year", "month", "day") if "-" in text else ("day", "month", "year")
    found: dict[tuple[str, int], frozenset[int]] = {}
    start = 0
    for name, part in zip(order, text.split("-" if "-" in text else " "), strict=False):
        places = [start + k for k, c in enumerate(part) if c.isalnum()]
        if name == "year":
            found |= {(name, k): frozenset({place}) for k, place in enumerate(places)}
        else:
            found[name, 0] = frozenset(places)
        start += len(part) + 1
    return found


def _by_position(fields: dict[tuple[str, int], frozenset[int]], n: int) -> list[tuple[str, int]]:
    """The part that each of n positions belongs to."""
    at = {place: field for field, places in fields.items() for place in places}
    return [at.get(i, ("", 0)) for i in range(n)]


_COPY_RULE = "mean weight on the letter to be written next, over the queries that write one"

TARGETS: dict[str, Target] = {
    "induction": Target(
        "Induction score",
        "an induction head",
        "mean weight on the token after an earlier copy of the query's token",
        "decoder",
        induction,
    ),
    "copy": Target("Copy score", "a copying head", _COPY_RULE, "decoder", copied),
    "reverse": Target("Reversal score", "a reversing head", _COPY_RULE, "decoder", reversed_),
    "sort": Target("Sorting score", "a sorting head", _COPY_RULE, "decoder", sorted_),
    "brackets": Target(
        "Matching score",
        "a bracket-matching head",
        "mean weight on the bracket to be closed next, over the queries that close one",
        "decoder",
        opened,
    ),
    "modular": Target(
        "Operand score",
        "a head that reads both numbers",
        "weight of = on the two numbers",
        "decoder",
        summands,
    ),
    "dates": Target(
        "Alignment score",
        "an alignment head",
        "mean weight on the source characters that the next character comes from",
        "cross",
        aligned,
    ),
    "text": Target(
        "Induction score",
        "an induction head",
        "mean weight on the character after an earlier copy of the query's character",
        "decoder",
        induction,
    ),
    "digits": Target(
        "Ink score",
        "a head that looks at the ink",
        "weight of [CLS] on the patches with ink",
        "encoder",
        inked,
    ),
}
