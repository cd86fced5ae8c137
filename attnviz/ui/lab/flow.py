"""The layer from top to bottom: every matrix between the text and the layer's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from attnviz.analysis.lab import Lab
from attnviz.charts import Chart, Palette, heatmap, heatmaps, nice_domain
from attnviz.nn import AttentionConfig, AttentionSteps, Stage
from attnviz.ui.charting import draw_chart

_WIDTHS: Final = {"d_model": 320, "d_head": 120, "concat": 320, "hidden": 420}  # px
_FROM_ZERO: Final = ("weights", "weights_dropped", "sink_weights", "mask")


@dataclass(frozen=True)
class Section:
    """A step of the layer: the stages it shows and how it is explained."""

    title: str
    line: str
    formula: str
    stages: tuple[str, ...]


def sections(config: AttentionConfig, crossing: bool) -> tuple[Section, ...]:
    """The steps of a layer with these settings, in order."""
    source = r"\hat X" if config.norm == "pre" else "X"
    memory = "C" if crossing else source
    plus = "+b" if config.bias else ""
    norm = r"\operatorname{RMSNorm}" if config.norm_kind == "rms" else r"\operatorname{LayerNorm}"
    entering = {
        "pre": rf"\hat X = {norm}(X)",
        "post": r"X \in \mathbb{R}^{n \times d_{model}}",
        "none": r"X \in \mathbb{R}^{n \times d_{model}}",
    }[config.norm]
    scale = {"sqrt": r"\frac{QK^T}{\sqrt{d_{head}}}", "none": "QK^T"}.get(
        str(config.scale), rf"{config.scale} \cdot QK^T"
    )
    if config.temperature != 1:
        scale = rf"\frac{{1}}{{{config.temperature:g}}} \cdot {scale}"
    if config.softcap is not None:
        cap = f"{config.softcap:g}"
        scale = rf"{cap}\tanh\!\left({scale} \,/\, {cap}\right)"
    if config.positions in ("alibi", "t5") and not crossing:
        scale += " + B"
    leaving = "X + Y" if config.residual else "Y"
    if config.norm == "post":
        leaving = rf"{norm}({leaving})"
    return (
        Section(
            "Input",
            "One row for each token.",
            entering,
            ("x", "position_vectors", "embedded", "normed", "context"),
        ),
        Section(
            "Queries, keys, values",
            "Each head asks, offers and gives.",
            rf"{{Q = {source}W_Q{plus}}} \quad {{K = {memory}W_K{plus}}} \quad "
            rf"{{V = {memory}W_V{plus}}}",
            ("q_projected", "q_normed", "q", "k_projected", "k_normed", "k", "v"),
        ),
        Section(
            "Scores",
            "Every query against every key.",
            f"{{S = {scale}}}",
            # The dot products alone would be the same picture as the scaled ones.
            ("scores_scaled", "scores_capped", "bias"),
        ),
        Section(
            "Mask",
            "What a query may not see becomes −∞.",
            r"{S_{ij} \leftarrow -\infty \text{ where hidden}}",
            ("mask", "scores"),
        ),
        Section(
            "Weights",
            "Softmax makes each row positive with a sum of 1: how a query shares its attention.",
            r"{A_{ij} = \frac{e^{S_{ij}}}{\sum_k e^{S_{ik}}"
            + (" + e^{s}}}" if config.sink else "}}"),
            ("sink_weights", "weights_dropped", "weights"),
        ),
        Section(
            "Head outputs",
            "Each query's mixture of the values.",
            "{O = AV}",
            ("heads",),
        ),
        Section(
            "Heads together",
            "The heads' outputs side by side, mixed by one more linear map.",
            rf"{{Y = [O_0; \dots; O_{{{config.n_heads - 1}}}]\,W_O{plus}}}",
            ("concat", "projected"),
        ),
        Section(
            "Residual and norm",
            "What the attention found is added to what was there.",
            rf"{{Z = {leaving}}}",
            ("residual_sum", "post_normed"),
        ),
        Section(
            "Feed-forward",
            "Two linear maps, each token alone.",
            r"{F = \operatorname{act}(Z W_{up})\,W_{down}}",
            tuple(
                f"feed_forward.{name}"
                for name in ("normed", "hidden", "projected", "residual_sum", "post_normed")
            ),
        ),
    )


def show(section: Section, number: int, steps: AttentionSteps, lab: Lab, head: int | None) -> bool:
    """A section's heading and its matrices; False, and nothing drawn, where it has none."""
    stages = [stage for stage in steps.stages if stage.name in section.stages]
    if not stages:
        return False
    heading(section, number)
    with st.container(horizontal=True, gap="medium"):
        for stage in stages:
            draw_chart(picture(stage, steps, lab, head), f"chart_{stage.name}", described(stage))
    return True


def heading(section: Section, number: int) -> None:
    """A section's name, its one line and its formula."""
    st.markdown(
        f"**{number} · {section.title}** — {section.line} &emsp; $\\displaystyle {section.formula}$"
    )


def described(stage: Stage) -> str:
    """A stage in words, for a screen reader."""
    return f"{stage.title}: {stage.formula}"


def picture(
    stage: Stage,
    steps: AttentionSteps,
    lab: Lab,
    head: int | None,
    *,
    select: str | None = None,
    picked: tuple[int, int, int] | None = None,
) -> Chart:
    """One stage as a heatmap of one head, or of all of them side by side.

    Args:
        head: which head, None for all; a stage that the heads share is drawn once.
        select: name of the selection that a click on a cell makes.
        picked: (head, query, key) to outline.
    """
    values = stage.value[0].float().numpy()  # (rows, columns), or (heads, rows, columns)
    palette: Palette = "sequential" if stage.name in _FROM_ZERO else "diverging"
    rows, columns = lab.stage_labels(stage)
    hidden = None
    if stage.name in _FROM_ZERO and stage.name != "sink_weights" and steps.mask is not None:
        hidden = ~steps.mask[0, 0].numpy()  # (n_q, n_k)
    # Over all heads, so that colors mean the same from one head to the next.
    domain = (0.0, 1.0) if stage.name == "mask" else nice_domain(values, palette)
    size = _size(stage, len(rows), len(columns), together=stage.per_head and head is None)
    options: dict[str, Any] = {
        "row_title": _title(stage.rows),
        "col_title": _title(stage.columns),
        "value_title": stage.title,
        "palette": palette,
        "domain": domain,
        "title": stage.title,
        "subtitle": "S ← scale × S" if stage.name == "scores_scaled" else stage.formula,
        "size": size,
        "masked": hidden,
        "select": select,
        "legend": stage.name != "mask",
    }
    if not stage.per_head:
        return heatmap(values, rows, columns, **options)
    if head is None:
        names = [f"head {h}" for h in range(len(values))]
        if stage.heads == "key" and len(values) < lab.config.n_heads:
            names = [f"KV head {h}" for h in range(len(values))]
        return heatmaps(values, rows, columns, names, picked=picked, **options)
    own = head * len(values) // lab.config.n_heads  # heads may share keys and values
    cell = None if picked is None else picked[1:]
    return heatmap(values[own], rows, columns, picked=cell, **options)


def _size(stage: Stage, n_rows: int, n_columns: int, together: bool) -> tuple[int, int]:
    """(width, height) in pixels, from the number of tokens alone: no slider moves the layout."""
    room = 150 if together else 280
    cell = min(max(room // max(n_rows, n_columns if stage.columns == "key" else 1), 5), 24)
    if stage.columns in _WIDTHS:
        return _WIDTHS[stage.columns] - (24 if together else 0), cell * n_rows
    return cell * n_columns, cell * n_rows


def _title(axis: str) -> str | None:
    return {"query": "query", "key": "key", "sink": None}.get(axis, "dimension")
