"""Which job the page shows: the one in the link, and a list of earlier ones."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence

import streamlit as st

from attnviz.errors import AttnVizError
from attnviz.train.job import Job
from attnviz.ui import query_params
from attnviz.ui.error_display import escape_markdown

MAX_LISTED = 8


def linked_job(found: Sequence[Job]) -> Job | None:
    """The job in the link; None if there is none, with a warning if it no longer exists."""
    name = query_params.read("job")
    if not name:
        return None
    for job in found:
        if job.name == name:
            return job
    st.warning(escape_markdown(f"Job {name[:80]} not found; it may have been deleted."))
    query_params.write("job", None)
    return None


def open_job(job: Job | None) -> None:
    """Reruns the page with this job, or with the form for a new one."""
    query_params.write("job", job.name if job else None)
    st.rerun()


def earlier_jobs(found: Sequence[Job]) -> None:
    """A list of the newest jobs; a click opens one."""
    if not found:
        return
    st.caption("Earlier runs")
    with st.container(gap=None):
        for job in found[:MAX_LISTED]:
            if st.button(_label(job), key=f"open_{job.name}", type="tertiary"):
                open_job(job)


def _label(job: Job) -> str:
    """Title, date and state."""
    found = re.match(r"\d{4}(\d\d)(\d\d)-(\d\d)(\d\d)", job.name)
    date = job.name
    if found:
        date = f"{calendar.month_abbr[int(found[1])]} {int(found[2])}, {found[3]}:{found[4]}"
    try:
        return escape_markdown(f"{job.settings.title} · {date} · {job.status.state}")
    except (AttnVizError, OSError):  # damaged; the job's own page says how
        return escape_markdown(job.name)
