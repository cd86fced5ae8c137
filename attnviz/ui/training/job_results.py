"""What a job has learned: before and after, what changed where, and the model to take home."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import streamlit as st

from attnviz import charts
from attnviz.canvas.naming import layer_name
from attnviz.models.tokens import display_text
from attnviz.trace import Prediction
from attnviz.train.attention_change import AttentionChange, attention_change
from attnviz.train.events import of_kind
from attnviz.train.job import Job
from attnviz.train.model_export import ExportForm, add_to_catalog, export_forms, export_zip
from attnviz.train.settings import FinetuneWork
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import register
from attnviz.ui.training.job_view import one_head
from attnviz.ui.waiting import no_report

MOST_CHANGED = 3
SIDE = 280  # px of a map, so that two stand side by side
TOP = 5
_EXPECTED = {
    "causal": "What the model expects after the example",
    "masked": "What the model expects in the example's hidden place",
    "classify": "What the model takes the example for",
    "seq2seq": "What the model expects after the example's target",
}
LINKED = 1000  # characters of an example that go into a link


def results(job: Job) -> None:
    """Shown once the job is at rest and there is something to show."""
    if job.model is None or len(job.snapshots()) < 2:
        return
    st.subheader("What it learned", anchor=False)
    _take_home(job, job.model)
    newest = job.snapshots()[-1]
    found = attempt(lambda: changed(str(job.folder), newest.stat().st_mtime))
    if found is None:
        return
    before, after = found.predictions
    if before and after:
        expected = _expected(job)
        what = "class" if expected == "classify" else "token"
        st.caption(f"{_EXPECTED[expected]}, before the training and after it.")
        left, right = st.columns(2, gap="large")
        with left:
            _predictions("Before", before, what)
        with right:
            _predictions("After", after, what)
    names = [layer_name(found.after.trace, i) for i in range(found.divergence.shape[0])]
    st.caption(
        "How far each head's weights on the example are from what they were: the Jensen-Shannon "
        "divergence in bits, 0 for the same and 1 for nothing in common."
    )
    chart = charts.heatmap(
        found.divergence,
        names,
        [str(h) for h in range(found.divergence.shape[1])],
        row_title=None,
        col_title="head",
        value_title="bits",
        palette="sequential",
    )
    draw_chart(chart, "change", "Change of each layer and head")
    for layer, head in found.most_changed(MOST_CHANGED):
        value = found.divergence[layer, head]
        st.markdown(f"**{names[layer]}, head {head}** changed by {value:.2g} bits")
        with st.container(horizontal=True, gap="large"):
            for title, trace in (("Before", found.before.trace), ("After", found.after.trace)):
                one_head(
                    trace, layer, head, key=f"change_{title}_{layer}_{head}", title=title, side=SIDE
                )


def changed(folder: str, last: float) -> AttentionChange:
    """What the job changed, worked out once; ``last`` is when its last snapshot was written."""
    common, key = shared(), ("change", folder, last)
    found: AttentionChange = common.work.run(
        key, lambda job: attention_change(Job(Path(folder))), common.values, no_report
    )
    for side in (found.before, found.after):
        register(side.trace, (*key, side is found.after))
    return found


def _predictions(title: str, found: tuple[Prediction, ...], what: str) -> None:
    st.caption(title)
    shown = found[:TOP]
    chart = charts.bars(
        [p.probability for p in shown],
        [display_text(p.token) for p in shown],
        label_title=what,
        value_title="probability",
        domain=(0.0, 1.0),
    )
    chart = chart.properties(height=150, autosize={"type": "fit", "contains": "padding"})
    likeliest = f"{title} the training: {shown[0].token} is likeliest"
    draw_chart(chart, title, likeliest, width="stretch")


def _take_home(job: Job, model: Path) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Open in Explore", icon=":material/search:", key="explore"):
            # another model may be chosen already, and what is chosen goes before a link
            st.session_state["model"] = str(model)
            st.switch_page("pages/explore.py", query_params=_example(job))
        for form in export_forms(job):
            st.download_button(
                "Download the model" if form == "model" else "Download the adapter",
                lambda form=form: packed(job, form),  # type: ignore[misc]
                file_name=f"{job.name}-{form}.zip",
                mime="application/zip",
                icon=":material/download:",
                on_click="ignore",
                key=f"download_{form}",
            )
    with st.form("keep", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        first = re.sub(r"^\d+-\d+-", "", job.name)
        name = st.text_input("Name in the list of models", first, key="keep_name", width=280)
        if st.form_submit_button("Keep", icon=":material/bookmark_add:"):
            kept = attempt(lambda: add_to_catalog(job, name.strip()))
            if kept is not None:
                st.success(escape_markdown(f"Every page lists it now as {kept.name}."))


def _expected(job: Job) -> str:
    """What the two charts of probabilities are of: a key of `_EXPECTED`."""
    work = job.settings.work
    if isinstance(work, FinetuneWork):
        return work.objective
    return {"digits": "classify", "dates": "seq2seq"}.get(work.task, "causal")


def _example(job: Job) -> dict[str, str]:
    """The probe as Explore's link takes it: a small task's model reads no other words."""
    known = of_kind(job.events(), "probe")
    said = {n: known[0][n] for n in ("text", "target") if known and known[0].get(n)}
    return said if sum(map(len, said.values())) <= LINKED else {}


def packed(job: Job, form: ExportForm) -> bytes:
    """The zip file's bytes, made when somebody asks."""
    with tempfile.TemporaryDirectory() as folder:
        return export_zip(job, form, Path(folder) / "model.zip").read_bytes()
