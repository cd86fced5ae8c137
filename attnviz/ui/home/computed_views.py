"""Home's views computed with models, for ``kept.json`` and for a person's own text."""

from __future__ import annotations

from attnviz.analysis.lab import Lab, tokenize
from attnviz.analysis.telling_heads import telling_heads
from attnviz.models.tokens import display_text
from attnviz.nn import AttentionConfig
from attnviz.trace import Model, Trace
from attnviz.trace.pooling import pool, square_side
from attnviz.ui.home.views import (
    MASKED,
    HeadView,
    LayerView,
    Matrix,
    SentenceView,
    as_thousandths,
)

ANSWERS = 4
MAX_TOKENS = 48  # more do not fit on the first screen; Explore takes longer texts


def sentence_view(model: Model, text: str) -> SentenceView:
    """A text's tokens, predictions and telling heads, with the receipt of its layers."""
    trace = model.trace(text)
    checks = trace.fidelity()
    return SentenceView(
        text=text,
        tokens=[display_text(token.text) for token in trace.tokens],
        answers=[
            (display_text(one.token.strip()), round(one.probability, 4))
            for one in trace.predictions(k=ANSWERS)
        ],
        heads=[
            HeadView(
                layer=one.layer,
                head=one.head,
                role=one.role,
                sentence=one.sentence,
                weights=map_view(trace, one.layer, one.head, MAX_TOKENS),
            )
            for one in telling_heads(model, trace, text)
        ],
        layers=len(checks),
        error=max(check.error for check in checks),
        verified=all(check.passed for check in checks),
    )


def layer_view(text: str, d_model: int, n_heads: int) -> LayerView:
    """A causal layer with random parameters over the words of a text: the Layer lab's own.

    Raises:
        AttnVizError: the text has no words, or too many.
    """
    config = AttentionConfig(d_model=d_model, n_heads=n_heads, bias=False, mask="causal")
    lab = Lab(config, tokenize(text, "words"))
    steps = lab.steps()
    weights = steps.weights[0]  # (H, n, n)
    thousandths = weights.mul(1000).round()
    if steps.mask is not None:
        thousandths = thousandths.masked_fill(~steps.mask[0, 0], MASKED)
    return LayerView(tokens=list(lab.tokens), heads=thousandths.int().tolist())


def map_view(trace: Trace, layer: int, head: int, size: int) -> Matrix:
    """A head's map with at most ``size`` cells a side, each the largest weight of a square."""
    a = trace.attention(layer, head)
    side = square_side(a.n_q, a.n_k, size)
    cells = as_thousandths(pool(a.weights()[None], side)[0])
    masked = a.masked()
    if masked is None:
        return cells
    seen = pool((~masked).float()[None], side)[0].bool().tolist()
    return [
        [cell if visible else MASKED for cell, visible in zip(row, flags, strict=True)]
        for row, flags in zip(cells, seen, strict=True)
    ]
