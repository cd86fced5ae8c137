"""The weights, and the arithmetic of one cell of them with its own numbers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.analysis.cell_steps import CellSteps, cell_steps
from attnviz.analysis.lab import Lab
from attnviz.charts import bars, heatmap
from attnviz.nn import AttentionSteps
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.lab.flow import Section, described, heading, picture

_PICK = "pick"  # the selection parameter of the weights' chart
_LONGEST_SUM = 8  # terms that fit on one line; the table above has them all


@st.fragment
def weights_and_cell(
    section: Section, number: int, steps: AttentionSteps, lab: Lab, head: int | None
) -> None:
    """The weights' section. Picking a cell reruns this part of the page alone."""
    heading(section, number)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown("Click a cell to see where its number comes from, or choose:")
        query = _choose("Query", "query_lab", _numbered(lab.query_tokens))
        key = _choose("Key", "key_lab", _numbered(lab.key_tokens))
        heads = [f"{h}" for h in range(lab.config.n_heads)]
        shown = _choose("Head", "cell_head", heads) if head is None else head
    cell = None if query is None or key is None else (shown or 0, query, key)
    with st.container(horizontal=True, gap="medium"):
        for stage in (stage for stage in steps.stages if stage.name in section.stages):
            if stage.name != "weights":
                draw_chart(
                    picture(stage, steps, lab, head), f"chart_{stage.name}", described(stage)
                )
                continue
            # A cell chosen by keyboard makes a new chart, whose every click counts again.
            name = f"chart_weights_{st.session_state.get('_chosen', 0)}"
            draw_chart(
                picture(stage, steps, lab, head, select=_PICK, picked=cell),
                name,
                described(stage),
                on_select=partial(_pick, name),
            )
    if cell:
        with st.container(border=True):
            arithmetic(cell_steps(steps, *cell), lab, *cell[1:])


def _choose(label: str, key: str, options: list[str]) -> int | None:
    """A position, by keyboard or by the click that ``_pick`` saw; None before either."""
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = options[-1]  # a shorter text, or fewer heads
    chosen = st.selectbox(
        label,
        options,
        None,
        key=key,
        placeholder="any",
        on_change=_chosen,
        bind="query-params",
        width=130,
    )
    return None if chosen is None else options.index(chosen)


def _numbered(tokens: Iterable[str]) -> list[str]:
    """The same word twice is two choices."""
    return [f"{i} · {token}" for i, token in enumerate(tokens)]


def _chosen() -> None:
    st.session_state["_chosen"] = st.session_state.get("_chosen", 0) + 1


def _pick(name: str) -> None:
    """Take the cell that was clicked."""
    for cell in st.session_state[name].selection.get(_PICK) or ():
        st.session_state["query_lab"] = cell["row label"]
        st.session_state["key_lab"] = cell["column label"]
        if "panel" in cell:
            st.session_state["cell_head"] = str(cell["panel"])


def arithmetic(cell: CellSteps, lab: Lab, query: int, key: int) -> None:
    """From the two rows to the weight, and from the weights to the head's output."""
    asking, asked = escape_markdown(lab.query_tokens[query]), escape_markdown(lab.key_tokens[key])
    rows = {f"q of {asking}": cell.query, f"k of {asked}": cell.key, "q × k": cell.product}
    st.table(pd.DataFrame.from_dict(rows, orient="index").map(lambda x: f"{x:.5g}"))
    st.latex(chain(cell))
    pitch = max(min(400 // len(cell.weights), 20), 7)  # px a key, in both charts
    with st.container(horizontal=True, gap="medium"):
        draw_chart(
            bars(
                cell.weights,
                lab.key_tokens,
                label_title="key",
                value_title="weight",
                domain=(0.0, 1.0),
                pitch=pitch,
                title=f"How {lab.query_tokens[query]} shares its attention",
                picked=key,
            ),
            "chart_row",
            f"Weights of query {query} over all keys",
        )
        draw_chart(
            heatmap(
                np.vstack([cell.contributions, cell.output]),
                [*lab.key_tokens, "Σ"],
                [str(i) for i in range(len(cell.output))],
                row_title="key",
                col_title="dimension",
                value_title="weight × value",
                palette="diverging",
                title="Weight × value; their sum Σ is the head's output",
                size=(120, pitch * (len(cell.weights) + 1)),
            ),
            "chart_sum",
            f"What each key gives to query {query}, and the sum",
        )


def chain(cell: CellSteps) -> str:
    """LaTeX of the way from the dot product to the weight, a line a step."""
    raw, scaled = _number(cell.raw), _number(cell.scaled)
    lines = [
        rf"q \cdot k &= {_sum(cell.product)}",
        rf"&= {raw}",
        rf"S &= {raw} \times {_number(cell.scaling)} = {scaled}",
    ]
    before = cell.scaled
    if cell.capped is not None and cell.softcap is not None:
        cap = _number(cell.softcap)
        lines.append(rf"S &\leftarrow {cap} \tanh({scaled} / {cap}) = {_number(cell.capped)}")
        before = cell.capped
    if cell.bias is not None:
        biased = _number(before + cell.bias)
        lines.append(rf"S &\leftarrow {_number(before)} + {_signed(cell.bias)} = {biased}")
    if not cell.visible:
        lines.append(r"S &\leftarrow -\infty \quad\text{(hidden by the mask)}")
    if cell.total:
        highest = _signed(cell.highest)
        exponent = _number(cell.score) if cell.visible else r"-\infty"
        share = _number(float(np.exp(cell.score - cell.highest)))
        below = rf"\sum_k e^{{S_k - {highest}}}"
        if cell.sink is not None:
            below += f" + {_number(cell.sink)}"  # e^(sink - highest)
        lines.append(
            rf"A &= \frac{{e^{{{exponent} - {highest}}}}}{{{below}}} "
            rf"= \frac{{{share}}}{{{_number(cell.total)}}} = {_number(cell.weight)}"
        )
    else:
        lines.append(r"A &= 0 \quad\text{(this query sees no key)}")
    return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"


def _sum(terms: np.ndarray) -> str:
    shown = [_signed(term) for term in terms]
    if len(shown) > _LONGEST_SUM:
        shown = [*shown[: _LONGEST_SUM - 2], r"\dots", shown[-1]]
    return " + ".join(shown)


def _signed(number: float) -> str:
    return f"({_number(number)})" if number < 0 else _number(number)


def _number(number: float) -> str:
    """Five digits: enough to follow the sum, few enough to read."""
    mantissa, exponent, power = f"{number:.5g}".partition("e")
    return rf"{mantissa}\times10^{{{int(power)}}}" if exponent else mantissa
