"""What a training came to: the sentence from planted scores, and that of real trainings."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from attnviz.train import jobs, snapshots
from attnviz.train.attention_change import attention_change
from attnviz.train.events import Event
from attnviz.train.job import Job
from attnviz.train.job_scores import HeadScores, Scorer, scorer_of
from attnviz.train.payoff import ScoreHistory, loss_near, payoff
from attnviz.train.run_job import run
from attnviz.train.settings import FinetuneWork, JobSettings
from attnviz.train.tasks import find
from attnviz.train.tasks.task import settings_for

STEPS = (0, 100, 200, 300, 400)
SCORER = Scorer("Induction score", "a rule", "an induction head", "", lambda _: HeadScores({}, {}))


def name(head: tuple[int, int]) -> str:
    return f"Layer {head[0]} head {head[1]}"


def history(scorer: Scorer = SCORER, **scores: list[float]) -> ScoreHistory:
    """Scores by head, whose layer and number are the two digits of the name."""
    heads = {(int(key[1]), int(key[2])): values for key, values in scores.items()}
    measured = [
        HeadScores({head: values[i] for head, values in heads.items()}, dict.fromkeys(heads, 0.08))
        for i in range(len(STEPS))
    ]
    return ScoreHistory.of(scorer, STEPS, measured)


def losses(*values: float) -> tuple[Event, ...]:
    """A loss at each hundredth step."""
    return tuple(
        {"event": "step", "step": 100 * i, "time": 0.0, "loss": loss}
        for i, loss in enumerate(values)
    )


def test_the_jump_is_told_with_its_step_scores_and_loss() -> None:
    told = history(
        h21=[0.04, 0.05, 0.06, 0.8, 0.83],
        h20=[0.04, 0.3, 0.6, 0.7, 0.72],
        h00=[0.1, 0.1, 0.1, 0.1, 0.1],
    )
    assert told.telling == (2, 1)
    flat = [3.0] * 5 + [1.2] * 5  # the mean of five around steps 200 and 300: 3.0 and 2.64
    sentence = payoff(told, losses(*flat), name)
    assert sentence == (
        "Layer 2 head 1 became an induction head at step 300: its induction score rose from 0.06 "
        "to 0.80 between steps 200 and 300 (uniform attention gives 0.08) while the loss fell from "
        "3 to 2.6. So did layer 2 head 0 (step 200)."
    )


def test_before_a_head_has_the_role_the_closest_is_told() -> None:
    told = history(h00=[0.1, 0.1, 0.1, 0.15, 0.2], h01=[0.1] * 5)
    assert payoff(told, losses(3.0, 2.0), name) == (
        "No head has become an induction head. Layer 0 head 0 comes closest: its induction "
        "score is 0.20; it takes 0.30, and uniform attention gives 0.08."
    )


def test_a_head_that_had_the_role_before_has_not_become_it() -> None:
    told = history(h00=[0.9] * 5)
    assert "was an induction head before the first step" in payoff(told, losses(3.0), name)


def test_there_is_nothing_to_tell_of_one_snapshot_or_no_score() -> None:
    one = ScoreHistory.of(SCORER, (0,), [HeadScores({(0, 0): 0.5}, {(0, 0): 0.1})])
    none = ScoreHistory.of(SCORER, STEPS, [HeadScores({}, {})] * 5)
    assert payoff(one, (), name) == payoff(none, (), name) == ""


def test_a_change_is_told_where_there_is_no_role() -> None:
    change = replace(SCORER, title="Change", role="", unit="bits")
    told = history(change, h10=[0.0, 0.01, 0.2, 0.3, 0.31])
    assert payoff(told, (), name) == (
        "Layer 1 head 0 changed most: its attention on the probe example moved 0.31 bits from "
        "where it started, half of that by step 200."
    )
    still = history(change, h10=[0.0, 0.0, 0.0, 0.001, 0.001])
    assert "changed by more than 0.005 bits" in payoff(still, (), name)


def test_the_loss_near_a_step_is_a_mean_without_gaps() -> None:
    events = losses(9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0)
    assert loss_near(events, 300) == 3.0
    assert loss_near((*events, {"event": "step", "step": 299, "loss": None}), 300) == 3.0
    assert loss_near((), 3) is None


@pytest.fixture(scope="module")
def induction_job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Induction over few letters, learned in a few seconds."""
    task = find("induction")
    schedule = replace(
        task.schedule, steps=400, batch_size=32, learning_rate=4e-3, snapshots=12, checkpoints=1
    )
    settings = settings_for(
        task, options={"symbols": 16, "shortest": 6, "longest": 8}, schedule=schedule
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNVIZ_JOBS", str(tmp_path_factory.mktemp("jobs")))
        job = jobs.create(settings)
    assert run(job) == 0
    return job


def history_of(job: Job) -> ScoreHistory:
    scorer, paths = scorer_of(job), job.snapshots()
    return ScoreHistory.of(
        scorer,
        [snapshots.step_of(path) for path in paths],
        [scorer.measure(snapshots.read(path).trace) for path in paths],
    )


def test_a_real_training_makes_an_induction_head(induction_job: Job) -> None:
    told = history_of(induction_job)
    assert told.telling is not None
    layer, head = told.telling
    assert layer == 1  # it reads what a head below has moved
    assert told.scores[1, head][0] < 0.3 < 0.7 < told.scores[1, head][-1]
    found = dict(told.emerged)[1, head]
    assert 0 < found.step < 400
    sentence = payoff(told, induction_job.events(), name)
    assert re.match(rf"Layer 1 head {head} became an induction head at step {found.step}", sentence)
    assert re.search(r"while the loss fell from [\d.]+ to [\d.]+\.", sentence)


def test_the_score_of_a_real_training_is_the_induction_metric(induction_job: Job) -> None:
    told = history_of(induction_job)
    last = snapshots.read(induction_job.snapshots()[-1]).trace
    ids = [token.id for token in last.tokens]
    for (layer, head), scores in told.scores.items():
        w = last.attention(layer, head).weights()
        rows = [i for i in range(len(ids)) if ids[i] in ids[:i]]
        expected = sum(
            float(w[i, j]) for i in rows for j in range(1, i + 1) if ids[j - 1] == ids[i]
        ) / len(rows)
        assert scores[-1] == pytest.approx(expected, abs=1e-5)


def test_in_fine_tuning_the_score_is_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNVIZ_JOBS", str(tmp_path))
    work = FinetuneWork("tiny-induction", "data.txt", method="full", length=16)
    schedule = replace(find("copy").schedule, steps=6, batch_size=2, snapshots=2, checkpoints=1)
    job = jobs.create(JobSettings("tuned", work, schedule), b"abcd" * 60)
    assert run(job) == 0, job.status.sentence
    told = history_of(job)
    assert all(scores[0] == 0 for scores in told.scores.values())
    change = attention_change(job)
    for (layer, head), scores in told.scores.items():
        assert scores[-1] == pytest.approx(change.divergence[layer, head], abs=1e-12)
    assert told.telling == change.most_changed(1)[0]
    assert told.emerged == []
