"""The step at which a score rose, in planted curves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnviz.analysis.emergence import emerged, find_rise, least_score, strongest
from attnviz.analysis.roles import LEAST, TIMES

STEPS = list(range(0, 1001, 50))


def logistic(middle: float, width: float, low: float = 0.05, high: float = 0.9) -> list[float]:
    """A score that rises from ``low`` to ``high`` around ``middle``."""
    return [low + (high - low) / (1 + math.exp((middle - t) / width)) for t in STEPS]


@pytest.mark.parametrize("middle", [180, 390, 675])
def test_a_planted_jump_is_found_at_the_first_kept_step_after_it(middle: int) -> None:
    rise = find_rise(STEPS, logistic(middle, 10))
    assert rise is not None
    assert rise.step == min(t for t in STEPS if t >= middle)
    assert rise.start < middle <= rise.step <= rise.end
    assert rise.end - rise.start <= 100
    assert rise.before == pytest.approx(0.05, abs=0.09)
    assert rise.after == pytest.approx(0.9, abs=0.09)


def test_a_slow_rise_has_a_wide_window_around_the_same_step() -> None:
    rise = find_rise(STEPS, logistic(490, 120))
    assert rise is not None
    assert rise.step == 500
    assert rise.end - rise.start >= 400


def test_a_peak_before_the_rise_is_not_taken_for_it() -> None:
    scores = logistic(590, 10)
    scores[4] = 0.85  # at step 200, and lost again
    rise = find_rise(STEPS, scores)
    assert rise is not None
    assert rise.step == 600
    assert rise.start == 550


def test_noise_moves_the_step_by_one_kept_step_at_most() -> None:
    noise = np.random.default_rng(0)
    for _ in range(50):
        scores = np.array(logistic(430, 20)) + noise.normal(0, 0.03, len(STEPS))
        rise = find_rise(STEPS, scores.tolist())
        assert rise is not None
        assert abs(rise.step - 450) <= 50


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5], [0.7, 0.2, 0.4]])
def test_what_does_not_rise_has_no_rise(scores: list[float]) -> None:
    assert find_rise(range(len(scores)), scores) is None


def test_a_role_takes_a_score_far_above_uniform_attention() -> None:
    assert least_score(0.01) == LEAST
    assert least_score(0.15) == pytest.approx(0.15 * TIMES)
    assert least_score(0.5) == 0.75  # three times 0.5 cannot be: half way from it to 1
    assert least_score(1.0) == 1.0


def test_heads_emerge_that_took_up_the_role_and_no_others() -> None:
    scores = {
        (0, 0): logistic(290, 10, high=0.8),
        (0, 1): logistic(490, 10, high=0.95),
        (1, 0): [0.9] * len(STEPS),  # had it before the first step
        (1, 1): logistic(290, 10, high=0.25),  # too low to be one
        (1, 2): logistic(290, 10, high=0.9)[::-1],  # lost it
    }
    found = emerged(STEPS, scores, dict.fromkeys(scores, 0.05))
    assert [(head, rise.step) for head, rise in found] == [((0, 1), 500), ((0, 0), 300)]
    # three times 0.4 cannot be, and half way from it to 1 is 0.7
    crowded = emerged(STEPS, scores, dict.fromkeys(scores, 0.4))
    assert [head for head, _ in crowded] == [(0, 1), (0, 0)]
    assert emerged(STEPS, scores, dict.fromkeys(scores, 0.92)) == []


def test_the_strongest_is_that_of_the_last_step() -> None:
    assert strongest({(0, 0): [0.9, 0.1], (0, 1): [0.1, 0.2]}) == (0, 1)
    assert strongest({}) is None
