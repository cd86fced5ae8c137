"""A job as it runs: where it stands, its curves, and every head while it learns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.analysis import matrices
from attnviz.canvas import grid_payload
from attnviz.canvas.naming import layer_name
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from attnviz.train import snapshots
from attnviz.train.events import Event, of_kind
from attnviz.train.job import Job, Status
from attnviz.train.settings import Limits
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import attempt, escape_markdown, show_error
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import register, trace_memo
from attnviz.ui.waiting import no_report

LOOK_SECONDS = 1.5
CROWDED = 100  # points of a curve, over which they are drawn small
WINDOW = 64  # positions a side; a Vega-Lite heatmap of more cells is slow to draw
BESIDE = 8  # layers up to which all heads stand beside the curves, and not below them
CELLS, LABELS, LEGEND = 340, 90, 60  # px of a head's map
_BADGES = {
    "queued": ("blue", ":material/hourglass_top:"),
    "running": ("blue", ":material/play_arrow:"),
    "paused": ("orange", ":material/pause:"),
    "stopped": ("orange", ":material/timer_off:"),
    "cancelled": ("gray", ":material/close:"),
    "finished": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "interrupted": ("red", ":material/power_off:"),
}


def watch(job: Job) -> None:
    """The whole view of a job; while its process lives it looks again every second."""
    live = job.status.is_active
    st.fragment(_view, run_every=LOOK_SECONDS if live else None)(job, live)


def in_a_line(job: Job) -> str:
    """A job as a list shows it: what it learns, when it was asked for, how it stands."""
    found = re.match(r"\d{4}(\d\d)(\d\d)-(\d\d)(\d\d)", job.name)
    when = f"{found[2]}.{found[1]}. {found[3]}:{found[4]}" if found else job.name
    try:
        return escape_markdown(f"{job.settings.title} · {when} · {job.status.state}")
    except (AttnVizError, OSError):  # it cannot be read; opened, the page says why
        return escape_markdown(job.name)


def _view(job: Job, was_live: bool) -> None:
    attempt(lambda: _now(job, was_live))  # what a damaged job cannot show is told in its place


def _now(job: Job, was_live: bool) -> None:
    happened = job.events()
    status = job.status_from(happened)
    if status.is_active != was_live:
        st.rerun()  # the whole page: it starts or stops looking
    _standing(status, happened)
    _buttons(job, status)
    deep = _depth(job) > BESIDE
    with st.container(horizontal=not deep, gap="medium"):  # wraps where the window is narrow
        left = st.container(width="stretch" if deep else 380, horizontal=deep)
        right = st.container(width="stretch" if deep else 570)
    with left:
        curves(happened)
    with right:
        heads(job)


def _depth(job: Job) -> int:
    """How many layers' attention is kept; 0 before the first snapshot, and where none is read."""
    paths = job.snapshots()
    try:
        return len(opened(str(paths[0]), paths[0].stat().st_mtime).trace.layers) if paths else 0
    except (AttnVizError, OSError):
        return 0


def _standing(status: Status, happened: tuple[Event, ...]) -> None:
    color, icon = _BADGES[status.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(status.state, color=color, icon=icon)  # type: ignore[arg-type]
        st.caption(_words(status, happened))
    st.progress(min(1.0, status.step / status.steps))
    if status.sentence:
        (st.error if status.state in ("failed", "interrupted") else st.warning)(
            escape_markdown(status.sentence)
        )


def _words(status: Status, happened: tuple[Event, ...]) -> str:
    """Where it stands, in one line."""
    if status.state == "queued":
        if status.jobs_ahead is None:
            return "Starting …"
        others = "1 job is" if status.jobs_ahead == 1 else f"{status.jobs_ahead} jobs are"
        return f"{others} before it on this device." if status.jobs_ahead else "Starting …"
    words = f"Step {status.step:,} of {status.steps:,}"
    steps = of_kind(happened, "step")
    if steps:
        last = steps[-1]
        if status.loss is not None:
            words += f" · loss {status.loss:.4g}"
        reads_images = any(e.get("text") is None for e in of_kind(happened, "probe"))
        unit = "images/s" if reads_images else "tokens/s"
        if (rate := last.get("tokens_per_second")) is not None:
            words += f" · {rate:,.0f} {unit}"
        if (memory := last.get("memory")) is not None:
            words += f" · {memory / 2**20:,.0f} MB"
    if looks := of_kind(happened, "evaluation"):
        words += f" · {looks[-1]['accuracy']:.1%} right on held-out data"
    return words


def _buttons(job: Job, status: Status) -> None:
    with st.container(horizontal=True):
        if status.is_active:
            if st.button("Pause", icon=":material/pause:", key="pause"):
                attempt(job.pause)
            if st.button("Cancel", icon=":material/close:", key="cancel"):
                attempt(job.cancel)
        elif status.can_resume:
            again = st.button("Resume", icon=":material/play_arrow:", key="resume", type="primary")
            unlimited = status.state == "stopped" and st.checkbox(
                "without limits", True, key="resume_unlimited"
            )
            limits = Limits(None, None) if unlimited else None
            if again and done(lambda: job.resume(limits)):
                st.rerun()


def done(action: Callable[[], None]) -> bool:
    """Whether the action succeeded; if not, why is shown."""

    def succeeded() -> bool:
        action()
        return True

    return bool(attempt(succeeded))


def curves(happened: tuple[Event, ...]) -> None:
    """Loss over steps, and what is right on held-out data."""
    steps, looks = of_kind(happened, "step"), of_kind(happened, "evaluation")
    if not steps:
        st.caption("The loss appears with the first steps.")
        return
    x = np.array([e["step"] for e in steps])
    loss = np.array([_or_nan(e.get("loss")) for e in steps], dtype=float)
    held_out = np.full(len(x), np.nan)
    for e in looks:
        held_out[np.searchsorted(x, e["step"]).clip(max=len(x) - 1)] = _or_nan(e.get("loss"))
    newest = f"Loss over steps; the newest is {loss[-1]:.4g}"
    series = {"training": loss, "held out": held_out}
    _draw(series, x, "loss, in nats", height=300, key="loss", alt=newest)
    if looks:
        right = {"tokens": [e["accuracy"] for e in looks]}
        if all(e["exact"] == e["accuracy"] for e in looks):  # each example has one answer
            right = {"answers": right["tokens"]}
        elif any(e["exact"] for e in looks):  # of running text nothing is right as a whole
            right["whole answers"] = [e["exact"] for e in looks]
        at = np.array([e["step"] for e in looks])
        newest = f"Right on held-out data; the newest is {looks[-1]['accuracy']:.1%}"
        _draw(right, at, "right, held out", (0.0, 1.0), height=260, key="accuracy", alt=newest)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _draw(
    series: Mapping[str, np.ndarray | Sequence[float]],
    steps: np.ndarray,
    y_title: str,
    domain: tuple[float, float] | None = None,
    *,
    height: int,
    key: str,
    alt: str,
) -> None:
    """Curves over training steps, as wide as the column."""
    n_points = sum(int(np.isfinite(values).sum()) for values in series.values())
    chart = charts.lines(
        series,
        x=steps,
        x_title="step",
        x_format=",d",
        y_title=y_title,
        domain=domain,
        point_size=9 if n_points > CROWDED else 24,
        bridge_gaps=True,  # a line from evaluation to evaluation
        legend="top",
    ).properties(autosize={"type": "fit", "contains": "padding"}, height=height)
    with st.container(width=480):  # less where its place is narrower
        draw_chart(chart, key, alt, width="stretch")


def opened(path: str, changed: float) -> snapshots.Snapshot:
    """A snapshot, read once; ``changed`` is when its file was written."""
    common, key = shared(), ("snapshot", path, changed)
    found: snapshots.Snapshot = common.views.run(
        key, lambda job: snapshots.read(Path(path)), common.values, no_report
    )
    register(found.trace, key)
    return found


def heads(job: Job) -> None:
    """Every head at one step, and the chosen one large."""
    paths = job.snapshots()
    if not paths:
        st.caption("The heads appear with the first snapshot.")
        return
    steps = [snapshots.step_of(path) for path in paths]
    step = _chosen_step(steps)
    path = paths[steps.index(step)]
    snapshot = attempt(lambda: opened(str(path), path.stat().st_mtime))
    if snapshot is None:
        return
    attempt(lambda: _drawn(snapshot.trace))


def _drawn(trace: Trace) -> None:
    selected = canvas_state("train_grid").selected or (len(trace.layers) - 1, 0)
    remember = trace_memo(trace, no_report)
    grid = replace(remember(("grid",), lambda: grid_payload(trace)), selected=selected)
    canvas(grid, key="train_grid", height=_grid_height(trace))
    one_head(trace, *selected, key="train_head")


def _grid_height(trace: Trace) -> int:
    """Pixels that all heads take, with the room for the canvas' controls."""
    n_layers, n_heads = len(trace.layers), max(layer.n_heads for layer in trace.layers)
    if n_layers <= BESIDE:
        return min(560, 120 + 110 * n_layers)
    return min(560, 150 + 960 // max(n_layers, n_heads) * min(n_layers, n_heads))


def _chosen_step(steps: list[int]) -> int:
    """The slider over time; it follows the newest snapshot until somebody moves it back."""
    if len(steps) == 1:
        st.caption(f"Step {steps[0]}, before the training")
        return steps[0]
    if st.session_state.get("train_follow", True) or st.session_state.get("at_step") not in steps:
        st.session_state["at_step"] = steps[-1]
    step: int = st.select_slider(
        "Attention of every head at step",
        steps,
        key="at_step",
        on_change=lambda: st.session_state.update(
            train_follow=st.session_state["at_step"] == steps[-1]
        ),
        help="At the end it follows the training.",
    )
    return step


def one_head(
    trace: Trace, layer: int, head: int, *, key: str, title: str = "", side: int = CELLS
) -> None:
    """One head's weights with its tokens, exact numbers on hover; ``side`` px without labels."""
    if layer >= len(trace.layers) or head >= trace.layers[layer].n_heads:
        return
    window = slice(0, WINDOW)
    try:
        matrix = trace_memo(trace, no_report)(
            ("pairs", layer, head, WINDOW),
            lambda: matrices.attention(trace, layer, head, "weights", window, window),
        )
    except AttnVizError as error:
        show_error(error)
        return
    chart = charts.heatmap(
        matrix.values,
        matrix.rows,
        matrix.cols,
        palette="sequential",
        domain=(0.0, 1.0),
        masked=matrix.masked,
        title=title or f"{layer_name(trace, layer)}, head {head}",
    )
    n_rows, n_cols = matrix.values.shape
    cell = min(max(side // max(n_rows, n_cols), 6), 24)
    chart = chart.properties(
        height=cell * n_rows + LABELS, autosize={"type": "fit", "contains": "padding"}
    )
    with st.container(width=cell * n_cols + LABELS + LEGEND):
        words = f"Weights of {layer_name(trace, layer).lower()}, head {head}"
        draw_chart(chart, key, words, width="stretch")
