"""A job as a film: what it came to in a sentence, and every head at each kept step."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import streamlit as st

from attnviz.canvas.film import FilmFrame, Head, Sent, film_payload
from attnviz.canvas.interaction import CanvasState
from attnviz.canvas.naming import layer_name, source_line
from attnviz.trace import Trace
from attnviz.train import snapshots
from attnviz.train.events import Event
from attnviz.train.job import SETTINGS_FILE, Job
from attnviz.train.job_scores import Scorer, scorer_of
from attnviz.train.payoff import ScoreHistory, payoff
from attnviz.ui import query_params
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.served_component import served_component
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import register, trace_memo
from attnviz.ui.waiting import no_report

HEIGHT = 530  # px, of the pictures below the controls
HTML = '<div class="film-root"></div>\n'
STEP, WATCHED = "step", "watch"  # query parameters: the step, and "layer.head"
_AUTO, _SENT = "_film_auto", "_film_sent"  # of the session state


def film(job: Job, events: tuple[Event, ...], last: int) -> None:
    """The sentence and the film.

    Args:
        last: the job's last step.

    Raises:
        AttnVizError: a snapshot cannot be read.
    """
    paths = job.snapshots()
    if not paths:
        st.caption("Heads appear with the first snapshot of the probe example.")
        return
    traces = [cached_snapshot(path).trace for path in paths]
    history = score_history(job)
    first = traces[0]
    sentence = payoff(history, events, partial(head_name, first))
    if sentence:
        st.markdown(f"**{escape_markdown(sentence)}**")
    if not history.scores:
        st.caption("The probe example has nothing that this task's score could be of.")
    sent: dict[str, Sent] = st.session_state.setdefault(_SENT, {})
    payload = film_payload(
        [
            FilmFrame(_stamp(path), trace, trace_memo(trace, no_report))
            for path, trace in zip(paths, traces, strict=True)
        ],
        history,
        events,
        id=job.name,
        last=last,
        selected=_selected(job, first, history),
        at=_linked_step(),
        sent=sent.get(job.name, Sent()),
    )
    mount = served_component("film", HTML, "film/filmparts.js")
    key = f"film_{job.name}"
    mount(
        key=key,
        data=payload.encode(height=HEIGHT, source=source_line(first)),
        on_selected_change=partial(_choose_head, key),
        on_step_change=partial(_choose_step, key),
        on_missing_change=partial(_send_again, job.name),
    )
    sent[job.name] = payload.sent


def head_name(trace: Trace, head: Head) -> str:
    """ "Layer 1 head 2"."""
    return f"{layer_name(trace, head[0])} head {head[1]}"


def cached_snapshot(path: Path) -> snapshots.Snapshot:
    """A snapshot, read once."""
    caches, key = shared(), ("snapshot", str(path), path.stat().st_mtime)
    snapshot: snapshots.Snapshot = caches.views.run(
        key, lambda job: snapshots.read(path), caches.values, no_report
    )
    register(snapshot.trace, key)
    return snapshot


def cached_scorer(job: Job) -> Scorer:
    """`scorer_of`, made once.

    Raises:
        AttnVizError: the settings or the first snapshot cannot be read.
    """
    caches = shared()
    changed = (job.folder / SETTINGS_FILE).stat().st_mtime, *map(_stamp, job.snapshots()[:1])
    scorer: Scorer = caches.views.run(
        ("scorer", str(job.folder), changed), lambda _: scorer_of(job), caches.values, no_report
    )
    return scorer


def score_history(job: Job) -> ScoreHistory:
    """Every head's score at every kept step; there must be one. Each is computed once.

    Raises:
        AttnVizError: the settings or a snapshot cannot be read.
    """
    paths = job.snapshots()
    scorer = cached_scorer(job)
    measured = []
    for path in paths:
        trace = cached_snapshot(path).trace
        memo = trace_memo(trace, no_report)
        measured.append(memo(("scores", _stamp(paths[0])), partial(scorer.measure, trace)))
    return ScoreHistory.of(scorer, [snapshots.step_of(path) for path in paths], measured)


def _stamp(path: Path) -> tuple[int, float]:
    return snapshots.step_of(path), path.stat().st_mtime


# ---- what the link says, and what was clicked ----------------------------------------------------


def _selected(job: Job, trace: Trace, history: ScoreHistory) -> Head:
    """The head in the link; without one the most telling, which stays while it is telling."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", query_params.read(WATCHED))
    if found is not None:
        layer, head = int(found[1]), int(found[2])
        if layer < len(trace.layers) and head < trace.layers[layer].n_heads:
            return layer, head
    before: dict[str, Head] = st.session_state.setdefault(_AUTO, {})
    telling = [head for head, _ in history.emerged]
    if job.name not in before or (telling and before[job.name] not in telling):
        before[job.name] = history.telling or (len(trace.layers) - 1, 0)
    return before[job.name]


def _linked_step() -> int | None:
    text = query_params.read(STEP)
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _choose_head(key: str) -> None:
    selected = CanvasState.of(st.session_state.get(key)).selected
    if selected is not None:
        query_params.write(WATCHED, f"{selected[0]}.{selected[1]}")


def _choose_step(key: str) -> None:
    step = CanvasState.of(st.session_state.get(key)).step
    query_params.write(STEP, None if step is None else str(step))


def _send_again(name: str) -> None:
    st.session_state.get(_SENT, {}).pop(name, None)
