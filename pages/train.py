"""Train: a small transformer from scratch, or a loaded model, and its attention meanwhile."""

from __future__ import annotations

import streamlit as st

from attnviz.train import jobs
from attnviz.ui.error_display import attempt
from attnviz.ui.query_params import linked_choice
from attnviz.ui.training import finetune_form, task_form
from attnviz.ui.training.job_draft import start_button
from attnviz.ui.training.job_list import earlier_jobs, linked_job
from attnviz.ui.training.job_page import job_page
from attnviz.ui.training.saved_models import saved_model_list

MODES = {"nothing": "Train from scratch", "model": "Fine-tune a loaded model"}

st.markdown("## Train")
all_jobs = attempt(jobs.all) or ()
if job := linked_job(all_jobs):
    job_page(job)
    st.stop()

caption = st.empty()
caption.caption("Watch every attention head as it learns.")
mode = linked_choice(
    st.segmented_control, "Start from", MODES, key="door", label_visibility="collapsed"
)
with st.container(horizontal=True, gap="medium"):  # wraps in a narrow window
    form, start = st.container(width=600), st.container(width=360)
if mode == "nothing":
    draft = task_form.draft(form, start)
else:
    draft = finetune_form.draft(caption, form, start)
with start:
    start_button(draft)
earlier_jobs(all_jobs)
saved_model_list()
