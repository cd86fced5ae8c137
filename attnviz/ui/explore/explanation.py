"""Explore's explanation pane: what the selected head does and how a weight comes about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis import heads
from attnviz.analysis.roles import HeadDescription, describe
from attnviz.analysis.weight_steps import WeightSteps, weight_steps
from attnviz.canvas.naming import layer_name
from attnviz.errors import AttnVizError
from attnviz.models.tokens import display_text
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.explore import focus
from attnviz.ui.explore.head_grid import layer_grid
from attnviz.ui.explore.head_view import FORMULAS, VIEWS

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer
    from attnviz.ui.model_page import PageTrace


def head(page: PageTrace, layer: AttentionLayer, n: int) -> None:
    """The head's name, its role if it has one, and a sentence with the numbers behind it."""
    st.markdown(f"**{escape_markdown(layer_name(page.trace, layer.index))}, head {n}**")
    if layer.source == "refused":
        return
    found = page.memo(("description", layer.index, n), lambda: _description(page, layer, n))
    if found.role is not None:
        st.badge(found.role.name, color="blue", help=found.role.why or None)
    st.caption(escape_markdown(found.sentence))


def view(name: str) -> None:
    """What the view shows, and its formula."""
    st.caption(f"**{name}.** {VIEWS[name]}")
    if name in FORMULAS:
        st.latex(FORMULAS[name])


def cell(page: PageTrace, layer: AttentionLayer, n: int) -> None:
    """The arithmetic of the selected cell, from q and k to its share of the head's output."""
    selected = focus.cell_in(layer)
    if selected is None:
        st.caption("Click a cell of the map to see how its weight is computed.")
        return
    query, key = selected
    rows, cols = page.trace.row_tokens(layer.index), page.trace.col_tokens(layer.index)
    names = (display_text(rows[query].text), display_text(cols[key].text))
    st.markdown(escape_markdown(f"{query} “{names[0]}” → {key} “{names[1]}”"))
    try:
        steps = page.memo(
            ("weight_steps", layer.index, n, query, key),
            lambda: weight_steps(page.trace, layer.index, n, query, key),
        )
    except AttnVizError as error:
        st.caption(escape_markdown(str(error)))
        return
    st.markdown(_arithmetic(steps))


def _description(page: PageTrace, layer: AttentionLayer, n: int) -> HeadDescription:
    metrics = layer_grid(page.trace, layer.index, page.report).metrics
    return describe(metrics[n], heads.baselines(page.trace, layer.index)[n])


def _arithmetic(steps: WeightSteps) -> str:
    """The steps as a table in Markdown."""
    lines = [("q · k", steps.dot), (f"× {steps.scaling:.4g} (scaling)", steps.scaled)]
    if steps.capped is not None:
        lines.append((f"softcap {steps.softcap:g}", steps.capped))
    if steps.added:
        lines.append(("+ bias and mask", steps.added))
    if steps.edited:
        lines.append(("+ edits", steps.edited))
    lines += [("score", steps.score), ("row's highest score", steps.highest)]
    rows = [f"| {name} | {value:.4f} |" for name, value in lines]
    rows.append(
        f"| **weight** = exp(score − highest) / {steps.total:.4f} | **{steps.weight:.4f}** |"
    )
    rows.append(f"| rank in the row | {steps.rank} |")
    if steps.share is not None:
        rows.append(f"| share of the head's output | {100 * steps.share:.1f}% |")
    masked = "\n\nMasked: the query may not see this key." if steps.masked else ""
    return "| step | value |\n| :-- | --: |\n" + "\n".join(rows) + masked
