"""The arithmetic of one weight with its own numbers: a table, the formulas, two charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from attnviz.analysis.cell_steps import CellSteps
from attnviz.charts import Chart, bars, heatmap
from attnviz.ui.charting import draw_chart

if TYPE_CHECKING:
    from attnviz.ui.lab.flow_view import Shown

_MAX_TERMS = 5  # of a sum on one line; the chart beside it has them all


def arithmetic(cell: CellSteps, shown: Shown, query: int, key: int) -> None:
    """Draw the way from the two vectors to the weight, and from the weights to the output."""
    with st.container(horizontal=True, gap="medium"):
        with st.container(width="content"):
            st.latex(formulas(cell))
        draw_chart(
            _vectors_chart(cell, shown, query, key),
            "chart_vectors",
            f"Query {query}, key {key} and their product, dimension by dimension",
        )
        draw_chart(
            _weights_chart(cell, shown, query, key),
            "chart_row",
            f"Weights of query {query} over all keys",
        )
        draw_chart(
            _contributions_chart(cell, shown),
            "chart_sum",
            f"Each key's contribution to query {query}, and their sum",
        )


def _vectors_chart(cell: CellSteps, shown: Shown, query: int, key: int) -> Chart:
    vectors = np.vstack([cell.query, cell.key, cell.product])  # (3, d_head)
    rows = [f"q · {shown.query_tokens[query]}", f"k · {shown.key_tokens[key]}", "q × k"]
    return heatmap(
        vectors,
        rows,
        [str(i) for i in range(vectors.shape[1])],
        row_title=None,
        col_title=None,
        value_title="value",
        palette="diverging",
        title="q × k, summed: the dot product",
        size=(min(max(24 * vectors.shape[1], 110), 220), 60),
    )


def _weights_chart(cell: CellSteps, shown: Shown, query: int, key: int) -> Chart:
    return bars(
        cell.weights,
        shown.key_tokens,
        value_title="weight",
        domain=(0.0, 1.0),
        width=110,
        pitch=_pitch(cell),
        title="Its row of weights",
        picked=key,
    )


def _contributions_chart(cell: CellSteps, shown: Shown) -> Chart:
    return heatmap(
        np.vstack([cell.contributions, cell.output]),  # (n_k + 1, d_head)
        [*shown.key_tokens, "Σ"],
        [str(i) for i in range(len(cell.output))],
        row_title=None,
        col_title=None,
        value_title="weight × value",
        palette="diverging",
        title="Weight × value, summed: the output",
        size=(120, _pitch(cell) * (len(cell.weights) + 1)),
    )


def _pitch(cell: CellSteps) -> int:
    """Pixels a key, the same in both charts."""
    return max(min(160 // len(cell.weights), 14), 6)


def formulas(cell: CellSteps) -> str:
    """LaTeX of the way from the dot product to the weight, a line a step."""
    raw, scaled = _number(cell.raw), _number(cell.scaled)
    lines = [
        rf"q \cdot k &= {_sum(cell.product)}",
        rf"&= {raw}",
        rf"S &= {raw} \times {_number(cell.scaling)} = {scaled}",
    ]
    before_bias = cell.scaled
    if cell.capped is not None and cell.softcap is not None:
        cap = _number(cell.softcap)
        lines.append(rf"S &\leftarrow {cap} \tanh({scaled} / {cap}) = {_number(cell.capped)}")
        before_bias = cell.capped
    if cell.bias is not None:
        biased = _number(before_bias + cell.bias)
        lines.append(rf"S &\leftarrow {_number(before_bias)} + {_signed(cell.bias)} = {biased}")
    if not cell.visible:
        lines.append(r"S &\leftarrow -\infty \quad\text{(masked)}")
    lines.append(_softmax(cell) if cell.total else r"A &= 0 \quad\text{(every key is masked)}")
    return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"


def _softmax(cell: CellSteps) -> str:
    """The weight as the cell's share of the row's exponentials."""
    highest = _signed(cell.highest)
    exponent = _number(cell.score) if cell.visible else r"-\infty"
    share = _number(float(np.exp(cell.score - cell.highest)))
    denominator = rf"\sum_k e^{{S_k - {highest}}}"
    if cell.sink is not None:
        denominator += f" + {_number(cell.sink)}"  # e^(sink - highest)
    return (
        rf"A &= \frac{{e^{{{exponent} - {highest}}}}}{{{denominator}}} "
        rf"= \frac{{{share}}}{{{_number(cell.total)}}} = {_number(cell.weight)}"
    )


def _sum(terms: np.ndarray) -> str:
    shown = [_signed(term) for term in terms]
    if len(shown) > _MAX_TERMS:
        shown = [*shown[: _MAX_TERMS - 2], r"\dots", shown[-1]]
    return " + ".join(shown)


def _signed(number: float) -> str:
    return f"({_number(number)})" if number < 0 else _number(number)


def _number(number: float) -> str:
    """Five digits: enough to follow the sum, few enough to read."""
    mantissa, exponent, power = f"{number:.5g}".partition("e")
    return rf"{mantissa}\times10^{{{int(power)}}}" if exponent else mantissa
