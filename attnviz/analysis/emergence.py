"""When a head took up its role during a training: the step at which its score rose.

    rise = find_rise(steps, scores)
    rise.step, rise.start, rise.end        # half way; from a tenth to nine tenths of the rise

A head has the role where its score passes ``least_score``: at least ``roles.LEAST``, and at least
``roles.TIMES`` times what uniform attention gives or, where that share is so large that this cannot
be, half way from it to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attnviz.analysis.roles import LEAST, TIMES

Head = tuple[int, int]  # layer, head
EDGE = 0.1  # of a rise that belongs to what was before it, and to what came after it


@dataclass(frozen=True)
class Rise:
    """How a score rose from its first value to its last.

    Attributes:
        step: the first from which on the score is at least half way between the two.
        start: the last step before it with at most a tenth of the rise. end: the first from
            ``step`` on with nine tenths of it.
        before, after: the score at ``start`` and ``end``.
    """

    step: int
    start: int
    end: int
    before: float
    after: float


def least_score(uniform: float) -> float:
    """The score from which on a head has the role.

    Args:
        uniform: what uniform attention gives.
    """
    return max(LEAST, min(TIMES * uniform, (1 + uniform) / 2))


def find_rise(steps: Sequence[int], scores: Sequence[float]) -> Rise | None:
    """Where a score rose; None if its last value is no larger than its first.

    Args:
        steps: ascending, one for each score.
    """
    values = np.asarray(scores, dtype=float)
    if len(values) < 2 or not values[-1] > values[0]:
        return None
    first, rise = values[0], values[-1] - values[0]
    below = np.flatnonzero(values < first + rise / 2)
    at = int(below[-1]) + 1
    start = int(np.flatnonzero(values[:at] <= first + EDGE * rise)[-1])
    end = at + int(np.flatnonzero(values[at:] >= first + (1 - EDGE) * rise)[0])
    return Rise(steps[at], steps[start], steps[end], float(values[start]), float(values[end]))


def emerged(
    steps: Sequence[int], scores: Mapping[Head, Sequence[float]], uniform: Mapping[Head, float]
) -> list[tuple[Head, Rise]]:
    """The heads that took up the role while they were watched, the highest final score first.

    A head did so if it has the role at the last step and did not have it at the first.

    Args:
        scores: by head, one number for each step. uniform: by head, what uniform attention gives.
    """
    found = []
    for head, values in scores.items():
        least = least_score(uniform[head])
        if len(values) > 1 and values[-1] >= least > values[0]:
            rise = find_rise(steps, values)
            assert rise is not None  # the last value is larger than the first
            found.append((head, rise))
    return sorted(found, key=lambda one: -scores[one[0]][-1])


def strongest(scores: Mapping[Head, Sequence[float]]) -> Head | None:
    """The head whose last score is the highest; None without any."""
    return max(scores, key=lambda head: scores[head][-1], default=None)
