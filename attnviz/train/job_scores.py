"""The score that tells whether a training's heads do what it needs: how, and what it came to.

    scorer = scorer_of(job)
    scorer.measure(snapshots.read(job.snapshots()[-1]).trace).scores    # {(layer, head): 0.91, ...}

A task from scratch has a score of its own (`attnviz.train.tasks.targets`). In fine-tuning heads
have their roles already; there the score is how far their attention has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attnviz.analysis.emergence import Head
from attnviz.analysis.head_scores import target_scores
from attnviz.trace import Trace
from attnviz.train import snapshots, tasks
from attnviz.train.attention_change import head_divergences
from attnviz.train.job import Job
from attnviz.train.settings import JobSettings, TaskWork
from attnviz.train.tasks.digits import has_ink
from attnviz.train.tasks.targets import TARGETS, Probed
from attnviz.train.tasks.task import probe_example


@dataclass(frozen=True)
class HeadScores:
    """The scores at one step.

    Attributes:
        scores: by head; empty where the probe has nothing that the score could be of.
        uniform: what uniform attention gives, for the same heads.
    """

    scores: Mapping[Head, float]
    uniform: Mapping[Head, float]


@dataclass(frozen=True)
class Scorer:
    """A training's score.

    Attributes:
        title: on screen. rule: what it is, as a sentence without its end.
        role: completes "Layer 1 head 0 became"; empty where there is no role, only a change.
        unit: after the number; empty for a share of the attention, 0 to 1.
        measure: the scores in a trace of the probe.
    """

    title: str
    rule: str
    role: str
    unit: str
    measure: Callable[[Trace], HeadScores]


def scorer_of(job: Job) -> Scorer:
    """The score of a job's task; of a fine-tuning, the change since its first snapshot.

    Raises:
        AttnVizError: the settings or the first snapshot cannot be read.
    """
    settings = job.settings
    if isinstance(settings.work, TaskWork):
        return _task_scorer(settings, settings.work)
    first = snapshots.read(job.snapshots()[0]).trace
    return Scorer(
        "Change",
        "Jensen-Shannon divergence of the head's attention from that at the first kept step, in "
        "bits from 0 (identical) to 1 (disjoint)",
        "",
        "bits",
        lambda trace: _change(first, trace),
    )


def _task_scorer(settings: JobSettings, work: TaskWork) -> Scorer:
    target = TARGETS[tasks.find(work.task).name]
    ink: tuple[bool, ...] = ()
    if work.task == "digits":
        task = tasks.find(work.task)
        image = probe_example(task, settings).image
        assert image is not None
        ink = (False, *has_ink(image, {**task.options, **work.options}["patch"]))  # [CLS] first

    def measure(trace: Trace) -> HeadScores:
        scores: dict[Head, float] = {}
        uniform: dict[Head, float] = {}
        for layer in trace.layers:
            if layer.kind != target.kind or layer.source == "refused":
                continue
            rows = [token.text for token in trace.row_tokens(layer.index)]
            cols = [token.text for token in trace.col_tokens(layer.index)]
            found = target_scores(trace, layer.index, target.keys(Probed(rows, cols, ink)))
            if found is None:
                continue
            heads = [(layer.index, head) for head in range(layer.n_heads)]
            scores |= zip(heads, found[0].tolist(), strict=True)
            uniform |= dict.fromkeys(heads, found[1])
        return HeadScores(scores, uniform)

    return Scorer(target.title, target.rule, target.role, "", measure)


def _change(first: Trace, trace: Trace) -> HeadScores:
    divergences = head_divergences(first, trace)
    scores = {
        (layer.index, head): float(divergences[layer.index, head])
        for layer in trace.layers
        for head in range(layer.n_heads)
        if divergences[layer.index, head] >= 0  # not NaN
    }
    return HeadScores(scores, dict.fromkeys(scores, 0.0))
