"""The job that a form describes, and the button that starts it."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from attnviz.train import jobs
from attnviz.train.estimate import Estimate
from attnviz.train.settings import JobSettings
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.training.job_list import open_job


@dataclass(frozen=True)
class JobDraft:
    """Checked settings, with what the job will take.

    Attributes:
        data: an uploaded file, for the job's folder.
    """

    settings: JobSettings
    estimate: Estimate
    data: bytes | None = None


def start_button(draft: JobDraft | None) -> None:
    """The estimate and the start button, which is disabled until the form is valid."""
    if draft is not None:
        st.info(escape_markdown(str(draft.estimate)), icon=":material/schedule:")
        if not draft.estimate.fits:
            st.warning(
                "This needs more memory than is free. Use smaller batches or shorter examples."
            )
    start = st.button("Start", icon=":material/play_arrow:", type="primary", disabled=draft is None)
    if start and draft is not None:
        job = attempt(lambda: jobs.submit(draft.settings, draft.data))
        if job is not None:
            open_job(job)
