"""Explore's explanation pane: what the selected head does and how a weight comes about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis import heads, prediction_text
from attnviz.analysis.roles import HeadDescription, describe
from attnviz.analysis.weight_steps import WeightSteps, weight_steps
from attnviz.canvas.naming import layer_name
from attnviz.errors import AttnVizError
from attnviz.glossary import term
from attnviz.models.tokens import display_text
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.explore import focus
from attnviz.ui.explore.head_grid import layer_grid
from attnviz.ui.explore.head_view import FORMULAS, VIEWS
from attnviz.ui.generate import sampling
from attnviz.ui.lab.hand_over import open_in_lab
from attnviz.ui.share_bars import Share, share_bars

if TYPE_CHECKING:
    from attnviz.canvas import TokenRef
    from attnviz.trace.trace import AttentionLayer
    from attnviz.ui.explore.focus import Focus
    from attnviz.ui.model_page import PageTrace

TERMS = {"Scores": "score", "Neuron": "score", "Q": "query", "K": "key"}
TERMS |= {"V": "value", "Output": "output"}  # each view's term in the glossary; others show weights
STRONGEST = 4  # keys of a query
LIKELIEST = 6  # predictions
ADD = " Click to add it to the text."


def head(page: PageTrace, layer: AttentionLayer, n: int) -> None:
    """The head's name, its role if it has one, and a sentence with the numbers behind it."""
    name = escape_markdown(layer_name(page.trace, layer.index))
    st.markdown(f"**{name}, head {n}**", help=f"{term('layer')} {term('head')}")
    if layer.source == "refused":
        return
    found = page.memo(("description", layer.index, n), lambda: _description(page, layer, n))
    if found.role is not None:
        st.badge(found.role.name, color="blue", help=found.role.why or None)
    st.caption(escape_markdown(found.sentence))


def lab_link(layer: AttentionLayer) -> None:
    """The way to the same head in the Layer lab."""
    if layer.source == "refused":
        return
    if st.button(
        "Open this head in the Layer lab",
        icon=":material/science:",
        type="tertiary",
        key="open_lab",
        help="Every step from the layer's input and the head's own weights to its output.",
    ):
        open_in_lab()


def view(name: str) -> None:
    """What the view shows, and its formula."""
    st.caption(f"**{name}.** {VIEWS[name]}", help=term(TERMS.get(name, "weight")))
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
    names = (display_text(rows[query].text).strip(), display_text(cols[key].text).strip())
    st.markdown(
        escape_markdown(f"{query} “{names[0]}” → {key} “{names[1]}”"),
        help=f"**Score:** {term('score')} **Weight:** {term('weight')}",
    )
    try:
        steps = page.memo(
            ("weight_steps", layer.index, n, query, key),
            lambda: weight_steps(page.trace, layer.index, n, query, key),
        )
    except AttnVizError as error:
        st.caption(escape_markdown(str(error)))
        return
    st.markdown(_arithmetic(steps))


def query(page: PageTrace, layer: AttentionLayer, n: int, focused: TokenRef | None) -> None:
    """The keys that the query in focus attends to most; a click picks that cell."""
    if focused is None or focused.side != "row" or layer.source == "refused":
        return
    trace, ref = page.trace, page.ref
    rows, cols = trace.row_tokens(layer.index), trace.col_tokens(layer.index)
    strongest = page.memo(
        ("strongest", layer.index, n, focused.index),
        lambda: _strongest(page, layer, n, focused.index),
    )
    name = display_text(rows[focused.index].text).strip()
    st.caption(
        escape_markdown(f"What {focused.index} “{name}” attends to"),
        help=f"**Query:** {term('query')} **Key:** {term('key')}",
    )

    def pick(i: int) -> None:
        focus.choose_cell(ref.trace, layer, (focused.index, strongest[i][0]))

    shares = [
        Share(display_text(cols[key].text), weight, key, "Show how it is computed.", clickable=True)
        for key, weight in strongest
    ]
    share_bars(shares, key="strongest", label=f"What {name} attends to", on_choose=pick)


def _strongest(page: PageTrace, layer: AttentionLayer, n: int, row: int) -> list[tuple[int, float]]:
    """The keys of a row by weight, the largest first, with their weights."""
    weights = page.trace.attention(layer.index, n).weights(slice(row, row + 1))[0].float()
    top = weights.topk(min(STRONGEST, len(weights)))
    return [
        (int(key), float(weight))
        for weight, key in zip(top.values, top.indices, strict=True)
        if weight > 0
    ]


def predictions(page: PageTrace, at: Focus | None) -> None:
    """The likeliest tokens after a position, or at it for a model that fills in masked tokens."""
    trace, tokenizer = page.trace, page.model.tokenizer
    text = "target" if trace.target_tokens else "source"
    position = at.index if at is not None and at.text == text else None
    missing = prediction_text.missing(trace, tokenizer, position)
    if missing:
        st.caption(escape_markdown(missing))
        return
    try:
        likeliest = page.memo(
            ("predictions", position), lambda: trace.predictions(position, LIKELIEST)
        )
    except AttnVizError as error:
        st.caption(escape_markdown(str(error)))
        return
    st.caption(escape_markdown(prediction_text.heading(trace, tokenizer, position)))
    given = page.ref.request.text + page.generated
    last = len(prediction_text.predicted_tokens(trace)) - 1
    new = [
        prediction_text.text_with(trace, tokenizer, one, given)
        if position in (None, last) or trace.task == "fill"
        else None
        for one in likeliest
    ]
    shares = [
        Share(
            display_text(one.token),
            one.probability,
            help=f"Probability {one.probability:.6g}." + (ADD if text is not None else ""),
            clickable=text is not None,
        )
        for one, text in zip(likeliest, new, strict=True)
    ]
    label = f"The most likely token is {shares[0].token}"

    def add(i: int) -> None:
        st.session_state["text"] = new[i]
        sampling.request_tokens(0)

    share_bars(shares, key="predictions", label=label, on_choose=add)


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
    rows = [f"| {name} | {value:.5g} |" for name, value in lines]
    rows.append(
        f"| **weight** = exp(score − highest) / {steps.total:.5g} | **{steps.weight:.4g}** |"
    )
    rows.append(f"| rank in the row | {steps.rank} |")
    if steps.share is not None:
        rows.append(f"| share of the head's output | {100 * steps.share:.3g}% |")
    masked = "\n\nMasked: the query may not see this key." if steps.masked else ""
    return "| step | value |\n| :-- | --: |\n" + "\n".join(rows) + masked
