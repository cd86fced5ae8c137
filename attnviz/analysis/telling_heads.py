"""A few heads of a model that say the most about one text, chosen by stated rules.

    for head in telling_heads(model, trace, text):
        print(head.layer, head.head, head.role, head.sentence)

One head for each role of `attnviz.analysis.roles` that this text shows: the one whose metric is the
largest. And, where the predicted token already occurs in the text, the heads that move it: name
movers and negative name movers (Wang et al. 2022), chosen by what their ablation does to its
probability.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attnviz.analysis.heads import HeadMetrics, baselines, head_metrics
from attnviz.analysis.roles import LEAST, TIMES, describe, named_roles
from attnviz.edits import AblateHead
from attnviz.trace import Model, Trace
from attnviz.trace.prediction import Prediction

MOST_ABLATED = 6  # forward passes spent on finding movers
MOVED = 0.01  # an ablation that changes the probability by less is ignored


@dataclass(frozen=True)
class TellingHead:
    """One head, its role in this text, and the sentence that its numbers give."""

    layer: int
    head: int
    role: str
    sentence: str


def telling_heads(model: Model, trace: Trace, text: str) -> tuple[TellingHead, ...]:
    """The heads, in the order of their layers. Empty where no metric passes its threshold.

    Args:
        trace: of ``text`` in ``model``.
    """
    metrics = head_metrics(trace)
    found = {(one.layer, one.head): one for one in _by_role(trace, metrics)}
    for mover in _movers(model, trace, text):
        found[mover.layer, mover.head] = mover
    return tuple(found[head] for head in sorted(found))


def _by_role(trace: Trace, metrics: tuple[HeadMetrics, ...]) -> Iterator[TellingHead]:
    """For each role, the head with the largest metric among those that have it before any other."""
    best: dict[str, tuple[float, HeadMetrics, HeadMetrics]] = {}
    uniform: dict[int, tuple[HeadMetrics, ...]] = {}
    for head in metrics:
        if head.layer not in uniform:
            uniform[head.layer] = baselines(trace, head.layer)
        baseline = uniform[head.layer][head.head]
        named = named_roles(head, baseline)
        if named:
            role, evidence = named[0]
            if role.name not in best or evidence.value > best[role.name][0]:
                best[role.name] = (evidence.value, head, baseline)
    for name, (_, head, baseline) in best.items():
        yield TellingHead(head.layer, head.head, name, describe(head, baseline).sentence)


def _movers(model: Model, trace: Trace, text: str) -> Iterator[TellingHead]:
    """The head without which the predicted token loses the most, and the one without which it gains
    the most, among those whose last query attends to it."""
    if trace.task != "next":
        return
    answer = trace.predictions(k=1)[0]
    keys = [i for i, token in enumerate(trace.tokens) if token.id == answer.id]
    if not keys:
        return
    shares = _attention_to(trace, keys)
    uniform = len(keys) / len(trace.tokens)
    candidates = [head for head, share in shares.items() if share >= max(LEAST, TIMES * uniform)]
    candidates.sort(key=lambda head: -shares[head])
    change = {
        head: _ablated(model, text, head, answer) - answer.probability
        for head in candidates[:MOST_ABLATED]
    }
    word = answer.token.strip()
    for role, head in (
        ("name mover", min(change, key=change.__getitem__, default=None)),
        ("negative name mover", max(change, key=change.__getitem__, default=None)),
    ):
        if head is None or (change[head] if "negative" in role else -change[head]) < MOVED:
            continue
        moved = "rises" if change[head] > 0 else "falls"
        yield TellingHead(
            *head,
            role,
            f"The last token attends to “{word}” ({shares[head]:.2f}). Without this head "
            f"“{word}” {moved} from {answer.probability:.0%} to "
            f"{answer.probability + change[head]:.0%}.",
        )


def _attention_to(trace: Trace, keys: list[int]) -> dict[tuple[int, int], float]:
    """The last query's weight on these keys, by (layer, head)."""
    shares = {}
    for layer in trace.layers:
        if layer.source == "refused":
            continue
        for head in range(layer.n_heads):
            row = trace.attention(layer.index, head).weights(rows=slice(layer.n_q - 1, layer.n_q))
            shares[layer.index, head] = float(row[0, keys].sum())
    return shares


def _ablated(model: Model, text: str, head: tuple[int, int], answer: Prediction) -> float:
    """The answer's probability when this head's output is set to zero."""
    trace = model.trace(text, edits=[AblateHead(*head)])
    assert trace.logits is not None  # a causal model's, which has predicted something already
    return float(trace.logits[-1].float().softmax(-1)[answer.id])
