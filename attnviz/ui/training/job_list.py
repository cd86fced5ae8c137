"""Which job the page shows: the one in the link, and earlier ones as small pictures."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis.arrays import as_numpy
from attnviz.charts.run_picture import run_picture
from attnviz.errors import AttnVizError
from attnviz.train.events import of_kind
from attnviz.train.job import Job
from attnviz.ui import query_params
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.training.film_view import STEP, WATCHED, cached_scorer, cached_snapshot
from attnviz.ui.waiting import no_report

if TYPE_CHECKING:
    import numpy as np

    from attnviz.charts.palettes import Theme
    from attnviz.trace import Trace
    from attnviz.train.job_scores import Scorer

MAX_LISTED = 12
MAP_SIDE = 72  # cells a side, as many as pixels
CARD_PX = 252
_STYLE = Path(__file__).with_name("job_list.css")


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
    for name in (STEP, WATCHED):  # of another job
        query_params.write(name, None)
    st.rerun()


def earlier_jobs(found: Sequence[Job]) -> None:
    """The newest jobs as cards; a click on a card opens it."""
    if not found:
        return
    st.html(_STYLE)
    st.markdown("##### Earlier runs")
    with st.container(horizontal=True, gap="small"):  # wraps
        for job in found[:MAX_LISTED]:
            with st.container(border=True, width=CARD_PX, gap=None, key=f"run_{job.name}"):
                if (picture := _picture(job)) is not None:
                    st.image(picture, width=CARD_PX - 36)
                if st.button(_label(job), key=f"open_{job.name}", type="tertiary"):
                    open_job(job)
                if date := _date(job):
                    st.caption(date)


def _date(job: Job) -> str:
    """When it was submitted, from its name."""
    found = re.match(r"\d{4}(\d\d)(\d\d)-(\d\d)(\d\d)", job.name)
    if not found or not 1 <= int(found[1]) <= 12:
        return ""
    return f"{calendar.month_abbr[int(found[1])]} {int(found[2])}, {found[3]}:{found[4]}"


def _label(job: Job) -> str:
    """Title and state."""
    try:
        return escape_markdown(f"{job.settings.title} · {job.status.state}")
    except (AttnVizError, OSError):  # damaged; the job's own page says how
        return escape_markdown(job.name)


def _picture(job: Job) -> str | None:
    """Its loss and the map of its most telling head; None where there is nothing to draw."""
    theme: Theme = "dark" if st.context.theme.type == "dark" else "light"
    try:
        steps = of_kind(job.events(), "step")
    except AttnVizError:  # damaged
        return None
    losses = [math.nan if (loss := e.get("loss")) is None else loss for e in steps]
    return run_picture(losses, _final_map(job), theme) if len(losses) > 1 else None


def _final_map(job: Job) -> np.ndarray | None:
    """The weights of the head with the highest score at the end, pooled if they are many."""
    paths = job.snapshots()
    try:
        trace, scorer = cached_snapshot(paths[-1]).trace, cached_scorer(job)
        memo = trace_memo(trace, no_report)
        return memo(("final map",), lambda: _strongest_map(trace, scorer))
    except (AttnVizError, OSError, IndexError):  # damaged, or none yet
        return None


def _strongest_map(trace: Trace, scorer: Scorer) -> np.ndarray:
    scores = scorer.measure(trace).scores
    best = max(scores, key=scores.__getitem__, default=(len(trace.layers) - 1, 0))
    return as_numpy(trace.attention(*best).overview(size=MAP_SIDE))
