"""The section of the weights, and the arithmetic of the cell that is picked in them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import streamlit as st

from attnviz.analysis.cell_steps import cell_steps
from attnviz.analysis.lab import Lab
from attnviz.glossary import term
from attnviz.nn import AttentionSteps
from attnviz.ui.lab.arithmetic import arithmetic
from attnviz.ui.lab.sections import Section, heading
from attnviz.ui.lab.stage_chart import draw_stage

_SELECTION = "pick"  # the selection parameter of the weights' chart
_N_CHOSEN = "_chosen"  # how often a cell was chosen by keyboard


@st.fragment
def weights_section(
    section: Section, number: int, steps: AttentionSteps, lab: Lab, head: int | None
) -> None:
    """Draw the section. Picking a cell reruns this fragment alone."""
    heading(section, number)
    cell = _choose_cell(lab, head)
    with st.container(horizontal=True, gap="medium"):
        for stage in (stage for stage in steps.stages if stage.name in section.stages):
            if stage.name != "weights":
                draw_stage(stage, steps, lab, head)
                continue
            # A cell chosen by keyboard makes a new chart, on which every click counts again.
            key = f"chart_weights_{st.session_state.get(_N_CHOSEN, 0)}"
            draw_stage(
                stage,
                steps,
                lab,
                head,
                key=key,
                select=_SELECTION,
                picked=cell,
                on_select=partial(_on_click, key),
            )
    if cell:
        with st.container(border=True):
            arithmetic(cell_steps(steps, *cell), lab, *cell[1:])


def _choose_cell(lab: Lab, head: int | None) -> tuple[int, int, int] | None:
    """The picked (head, query, key), by keyboard or by a click; None before either."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown("Click a cell to see how its weight is computed, or choose:")
        query = _choose("Query", "query_lab", _numbered(lab.query_tokens), term("query"))
        key = _choose("Key", "key_lab", _numbered(lab.key_tokens), term("key"))
        if head is None:
            heads = [f"{h}" for h in range(lab.config.n_heads)]
            head = _choose("Head", "cell_head", heads, term("head"))
    return None if query is None or key is None else (head or 0, query, key)


def _choose(label: str, key: str, options: list[str], help: str) -> int | None:
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = options[-1]  # a shorter text, or fewer heads
    chosen = st.selectbox(
        label,
        options,
        None,
        key=key,
        placeholder="any",
        help=help,
        on_change=_on_choice,
        bind="query-params",
        width=130,
    )
    return None if chosen is None else options.index(chosen)


def _numbered(tokens: Iterable[str]) -> list[str]:
    """Options for tokens: with its position, a repeated word is two options."""
    return [f"{i} · {token}" for i, token in enumerate(tokens)]


def _on_choice() -> None:
    st.session_state[_N_CHOSEN] = st.session_state.get(_N_CHOSEN, 0) + 1


def _on_click(chart: str) -> None:
    """Put the clicked cell into the three controls."""
    for cell in st.session_state[chart].selection.get(_SELECTION) or ():
        st.session_state["query_lab"] = cell["row label"]
        st.session_state["key_lab"] = cell["column label"]
        if "panel" in cell:
            st.session_state["cell_head"] = str(cell["panel"])
