"""The layer as a flow on the canvas, and below it the arithmetic of the weight that is selected."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import streamlit as st

from attnviz.analysis.cell_steps import cell_steps
from attnviz.canvas import FlowMatrix, FlowPayload, FlowStep
from attnviz.canvas.interaction import CanvasState
from attnviz.charts.palettes import Domain, Palette, nice_domain
from attnviz.nn import AttentionConfig, AttentionSteps, Stage
from attnviz.ui.canvas import canvas
from attnviz.ui.lab.arithmetic import arithmetic
from attnviz.ui.lab.cell_choice import Cell, choose_cell, put_cell
from attnviz.ui.lab.sections import sections

_FROM_ZERO: Final = ("weights", "weights_dropped", "sink_weights", "mask")
_OUTLIER: Final = 4  # a number so many times the 99.5th percentile doesn't set the colors
_TALL: Final = 20_000  # px: the page scrolls, not the canvas


class Shown(Protocol):
    """What the lab shows: a layer of its own over a text, or a head of a model."""

    @property
    def config(self) -> AttentionConfig:
        """The layer's settings."""
        ...

    @property
    def query_tokens(self) -> tuple[str, ...]:
        """The label of each query."""
        ...

    @property
    def key_tokens(self) -> tuple[str, ...]:
        """The label of each key."""
        ...

    @property
    def title(self) -> str:
        """Of a saved picture."""
        ...


@st.fragment
def flow(steps: AttentionSteps, shown: Shown, head: int | None, stale: str = "") -> None:
    """Draw every step that has a matrix. Selecting a weight reruns this fragment alone.

    Args:
        head: the head to show; None shows all of them side by side.
        stale: why this isn't what the controls say; empty if it is.
    """
    picture = st.container()
    with st.container(key="cell_pane", gap="small"):
        cell = choose_cell(shown, head)
        if cell:
            arithmetic(cell_steps(steps, *cell), shown, *cell[1:])
    with picture:
        canvas(
            flow_payload(steps, shown, head, cell, stale),
            key="flow",
            height=_TALL,
            on_change=lambda state, name: _on_click(state, shown, head),
        )


def _on_click(state: CanvasState, shown: Shown, head: int | None) -> None:
    if state.weight is not None:
        panel, query, key = state.weight
        put_cell(shown, panel if head is None else None, query, key)


def flow_payload(
    steps: AttentionSteps, shown: Shown, head: int | None, cell: Cell | None = None, stale: str = ""
) -> FlowPayload:
    """The matrices of a layer, a step for each section of `sections`."""
    crossing = steps.context is not None
    made = []
    for section in sections(shown.config, crossing=crossing):
        stages = [stage for stage in steps.stages if stage.name in section.stages]
        stages.sort(key=lambda stage: section.stages.index(stage.name))
        if stages:
            matrices = tuple(_matrix(stage, steps, shown, head) for stage in stages)
            made.append(FlowStep(section.title, section.line, section.help, matrices))
    text, context = (" ".join(tokens) for tokens in (shown.query_tokens, shown.key_tokens))
    return FlowPayload(
        title=shown.title,
        steps=tuple(made),
        texts={"query": shown.query_tokens, "key": shown.key_tokens, "sink": ("sink",)},
        axes={
            "query": f"lab/{text}",
            "key": f"lab/context/{context}" if crossing else f"lab/{text}",
        },
        picked=None if cell is None else (cell[0] if head is None else 0, *cell[1:]),
        stale=stale,
    )


def _matrix(stage: Stage, steps: AttentionSteps, shown: Shown, head: int | None) -> FlowMatrix:
    same_text = steps.context is None
    every: np.ndarray = stage.value[0].float().numpy()  # (rows, columns), or (heads, ...)
    palette: Palette = "sequential" if stage.name in _FROM_ZERO else "diverging"
    values, panels = every, tuple[str, ...]()
    if stage.per_head and head is None:
        panels = _panel_names(stage, len(every), shown.config.n_heads)
    elif stage.per_head and head is not None:
        values = every[head * len(every) // shown.config.n_heads]  # heads may share keys and values
    return FlowMatrix(
        name=stage.name,
        title=stage.title,
        formula=stage.formula,
        values=_with_holes(values, stage, steps),
        rows="query" if same_text and stage.rows == "key" else stage.rows,
        cols="query" if same_text and stage.columns == "key" else stage.columns,
        row_kind=stage.rows,
        col_kind=stage.columns,
        row_title=_row_title(stage),
        col_title=stage.columns if stage.columns in ("key", "sink") else "dimension",
        two_sided=palette == "diverging",
        # Over all heads, so that a color means the same from one head to the next.
        range=(0.0, 1.0) if stage.name == "mask" else _range(every, palette),
        panels=panels,
    )


def _panel_names(stage: Stage, count: int, n_heads: int) -> tuple[str, ...]:
    grouped = stage.heads == "key" and count < n_heads
    return tuple(f"{'KV head' if grouped else 'head'} {h}" for h in range(count))


def _with_holes(values: np.ndarray, stage: Stage, steps: AttentionSteps) -> np.ndarray:
    """The numbers, -inf where the mask hides a cell: a masked weight is no zero."""
    if stage.name not in ("weights", "weights_dropped", "mask") or steps.mask is None:
        return values
    holes: np.ndarray = np.where(steps.mask[0, 0].numpy(), values, -np.inf)
    return holes


def _row_title(stage: Stage) -> str:
    """A row of vectors in the residual stream is a token; it is a query or a key of one head."""
    if stage.rows not in ("query", "key"):
        return "dimension"
    return "token" if stage.columns in ("d_model", "concat", "hidden") else stage.rows


def _range(values: np.ndarray, palette: Palette) -> Domain:
    """Round numbers around the data, or around all but a few outliers."""
    finite = np.abs(values[np.isfinite(values)])
    if palette == "diverging" and finite.size:
        usual = float(np.quantile(finite, 0.995))
        if usual and finite.max() > _OUTLIER * usual:
            return nice_domain([-usual, usual], palette)
    return nice_domain(values, palette)
