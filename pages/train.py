"""Train: a small transformer from nothing, or a loaded model, and its attention meanwhile."""

from __future__ import annotations

import streamlit as st

from attnviz.train import jobs
from attnviz.ui import model_loading, sidebar
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.query_params import linked_choice
from attnviz.ui.training import finetune_form, job_results, job_view, task_form
from attnviz.ui.waiting import queue_status

EARLIER = 8  # trainings listed
DOORS = {"nothing": "A small transformer from nothing", "model": "Fine-tune a loaded model"}

st.markdown("## Train")
status = st.empty()
every = {job.name: job for job in attempt(jobs.all) or ()}
if st.query_params.get("job") and st.query_params["job"] not in every:
    st.warning(
        escape_markdown(f"There is no job {st.query_params['job'][:80]}; it may have been deleted.")
    )
    del st.query_params["job"]

name = st.query_params.get("job")
if name:
    job = every[name]
    told = attempt(lambda: job.status)
    status.caption(escape_markdown(job.settings.title if told else job.name))
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        if st.button("New training", icon=":material/add:", key="new"):
            del st.query_params["job"]
            st.rerun()
        at_rest = not (told.is_active if told else job.is_alive)
        gone = at_rest and st.button("Delete", icon=":material/delete:", key="delete")
        if gone and job_view.done(lambda: jobs.delete(job)):
            del st.query_params["job"]
            st.rerun()
    if told:
        job_view.watch(job)
        if not told.is_active:
            attempt(lambda: job_results.results(job))
    st.stop()

status.caption("Attention while it is learned, head by head.")
door = linked_choice(
    st.segmented_control, "Begin with", DOORS, key="door", label_visibility="collapsed"
)
asked, data, about = None, None, None
with st.container(horizontal=True, gap="medium"):  # one below the other where it is narrow
    left, right = st.container(width=600), st.container(width=360)
if door == "nothing":
    with left:
        asked = attempt(task_form.form)
    with right:
        if asked is not None:
            about = attempt(lambda: task_form.preview(asked))
else:
    choice, _, beside = sidebar.model_controls()
    report = queue_status(status, "Loading")
    model = attempt(lambda: model_loading.load(choice, report), beside) if choice else None
    status.caption("Training starts from a copy: nobody's open model changes.")
    if model is not None:
        with left:
            tuned = attempt(lambda: finetune_form.form(model, choice))
        with right:
            rows = attempt(tuned.check) if tuned else None
            if tuned and rows:
                asked, data = tuned.settings, tuned.data
                about = attempt(lambda: finetune_form.estimated(model, tuned, rows))
with right:
    if about is not None:
        st.info(escape_markdown(str(about)), icon=":material/schedule:")
        if not about.fits:
            st.warning("That is more memory than is free: choose smaller batches or examples.")
    if st.button("Start", icon=":material/play_arrow:", type="primary", disabled=about is None):
        job = attempt(lambda: jobs.submit(asked, data))
        if job is not None:
            st.query_params["job"] = job.name
            st.rerun()
    if every:
        st.caption("Earlier trainings")
        with st.container(gap=None):
            for old in list(every.values())[:EARLIER]:
                if st.button(job_view.in_a_line(old), key=f"open_{old.name}", type="tertiary"):
                    st.query_params["job"] = old.name
                    st.rerun()
