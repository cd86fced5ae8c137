"""What a job's training changed: predictions, attention of each head, and the trained model."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import streamlit as st

from attnviz.canvas import map_payload, matrix_payload
from attnviz.canvas.naming import layer_name, source_line, trace_id
from attnviz.models.tokens import display_text
from attnviz.trace import Prediction
from attnviz.train.attention_change import AttentionChange, attention_change
from attnviz.train.events import of_kind
from attnviz.train.job import Job
from attnviz.train.model_export import ExportForm, add_to_catalog, export_forms, export_zip
from attnviz.train.settings import FinetuneWork
from attnviz.ui.canvas import canvas
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.head_choice import move_to
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import register
from attnviz.ui.training.film_view import cached_snapshot, score_history
from attnviz.ui.waiting import no_report

N_HEADS = 3  # drawn before and after
MAP_PX, CHANGE_PX = 420, 300
MAP_SIDE = 128  # cells a side, pooled where the probe is longer
N_PREDICTIONS = 5
MAX_LINK_CHARACTERS = 1000  # of the probe, in the link to Explore
_EXPECTATIONS = {
    "causal": "Predictions after the probe example",
    "masked": "Predictions for the probe example's masked token",
    "classify": "Predicted class of the probe example",
    "seq2seq": "Predictions after the probe example's target",
}


def results(job: Job) -> None:
    """The results of an inactive job; nothing while it has no model or only one snapshot."""
    paths = job.snapshots()
    if job.model is None or len(paths) < 2:
        return
    st.subheader("What it learned", anchor=False)
    _open_and_download(job, job.model)
    _add_to_catalog(job)
    change = attempt(lambda: _cached_change(job, paths[-1].stat().st_mtime))
    if change is None:
        return
    _compare_predictions(job, change)
    _draw_divergences(change)
    _draw_most_changed(change)


def _open_and_download(job: Job, model: Path) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Open in Explore", icon=":material/search:", key="explore"):
            _open_in_explore(job, model)
        for form in export_forms(job):
            st.download_button(
                "Download the model" if form == "model" else "Download the adapter",
                lambda form=form: _zip_bytes(job, form),  # type: ignore[misc]
                file_name=f"{job.name}-{form}.zip",
                mime="application/zip",
                icon=":material/download:",
                on_click="ignore",
                key=f"download_{form}",
            )


def _open_in_explore(job: Job, model: Path) -> None:
    """The trained model with the probe and the head that tells most, in Explore."""
    # the session's model and head have precedence over a link's
    st.session_state["model"] = str(model)
    trace = cached_snapshot(job.snapshots()[-1]).trace
    link = _probe_link(job)
    if (head := score_history(job).telling) is not None:
        move_to(trace.layers, *head)
        state = st.session_state
        link |= {name: str(state[name]) for name in ("kind", "layer", "head") if name in state}
    st.switch_page("pages/explore.py", query_params=link)


def _probe_link(job: Job) -> dict[str, str]:
    """The probe as Explore's query parameters: a small model's vocabulary has few other words."""
    probes = of_kind(job.events(), "probe")
    link = {n: probes[0][n] for n in ("text", "target") if probes and probes[0].get(n)}
    return link if sum(map(len, link.values())) <= MAX_LINK_CHARACTERS else {}


def _zip_bytes(job: Job, form: ExportForm) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export_zip(job, form, Path(folder) / "model.zip").read_bytes()


def _add_to_catalog(job: Job) -> None:
    with st.form("keep", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        default = re.sub(r"^\d+-\d+-", "", job.name)
        name = st.text_input("Model name", default, key="keep_name", width=280)
        if st.form_submit_button("Save", icon=":material/bookmark_add:"):
            folder = attempt(lambda: add_to_catalog(job, name.strip()))
            if folder is not None:
                st.success(
                    escape_markdown(
                        f'Saved as "{folder.name}". It now appears in every model list.'
                    )
                )


def _cached_change(job: Job, last_snapshot: float) -> AttentionChange:
    """`attention_change`, computed once.

    Args:
        last_snapshot: when it was written, in seconds since 1970.
    """
    caches, key = shared(), ("change", str(job.folder), last_snapshot)
    change: AttentionChange = caches.work.run(
        key, lambda _: attention_change(job), caches.values, no_report
    )
    for snapshot in (change.before, change.after):
        register(snapshot.trace, (*key, snapshot is change.after))
    return change


def _compare_predictions(job: Job, change: AttentionChange) -> None:
    before, after = change.predictions
    if not before or not after:
        return
    st.caption(f"{_EXPECTATIONS[_objective(job)]}, before and after training.")
    left, right = st.columns(2, gap="large")
    with left:
        _draw_predictions("Before", before)
    with right:
        _draw_predictions("After", after)


def _objective(job: Job) -> str:
    """What the model predicts: a key of `_EXPECTATIONS`."""
    work = job.settings.work
    if isinstance(work, FinetuneWork):
        return work.objective
    return {"digits": "classify", "dates": "seq2seq"}.get(work.task, "causal")


def _draw_predictions(title: str, predictions: tuple[Prediction, ...]) -> None:
    st.caption(title)
    for p in predictions[:N_PREDICTIONS]:
        token = escape_markdown(display_text(p.token))
        st.progress(p.probability, text=f"{token} · {p.probability:.1%}")


def _draw_divergences(change: AttentionChange) -> None:
    st.caption(
        "How much each head's attention on the probe example changed: Jensen-Shannon "
        "divergence in bits, from 0 (identical) to 1 (disjoint)."
    )
    trace = change.after.trace
    n_layers, n_heads = change.divergence.shape
    payload = matrix_payload(
        np.nan_to_num(change.divergence),
        [layer_name(trace, i) for i in range(n_layers)],
        [str(head) for head in range(n_heads)],
        masked=np.isnan(change.divergence),
        title="Change by layer and head",
        id=f"{trace_id(trace)}/change",
        row_title="layer",
        col_title="head",
        value_title="bits",
    )
    canvas(payload, key="change", height=CHANGE_PX, compact=True, source=source_line(trace))


def _draw_most_changed(change: AttentionChange) -> None:
    sides = (("Before", change.before.trace), ("After", change.after.trace))
    for layer, head in change.most_changed(N_HEADS):
        value = change.divergence[layer, head]
        name = layer_name(change.after.trace, layer)
        st.markdown(f"**{name}, head {head}** changed by {value:.2g} bits")
        for box, (title, trace) in zip(st.columns(2), sides, strict=True):
            with box:
                st.caption(f"{title} training")
                payload = map_payload(trace, layer, head, size=MAP_SIDE)
                key = f"change_{title}_{layer}_{head}"
                canvas(payload, key=key, height=MAP_PX, compact=True, source=source_line(trace))
