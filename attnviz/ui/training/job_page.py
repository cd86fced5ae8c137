"""The page of one job: status, controls, curves and heads while it runs, results afterwards."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from attnviz.train import jobs
from attnviz.train.events import Event, of_kind
from attnviz.train.job import Job, Status
from attnviz.train.settings import Limits
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.training.film_view import film
from attnviz.ui.training.job_list import open_job
from attnviz.ui.training.job_results import results

REFRESH_SECONDS = 1.5
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


def job_page(job: Job) -> None:
    """Everything below the page's header."""
    status = attempt(lambda: job.status)
    is_active = status.is_active if status else job.is_alive
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(escape_markdown(job.settings.title if status else job.name), width="stretch")
        if st.button("New run", icon=":material/add:", key="new"):
            open_job(None)
        if not is_active:
            _delete_button(job)
    if status:
        view = st.fragment(_live_view, run_every=REFRESH_SECONDS if is_active else None)
        view(job, is_active)
        if not is_active:
            attempt(lambda: results(job))


def _delete_button(job: Job) -> None:
    """Deletes the job, after a question."""
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(
            "Delete this run with its snapshots, checkpoints and model? This cannot be undone. "
            "Models saved from it stay in the model lists."
        )
        clicked = st.button("Delete run", key="delete", type="primary")
        if clicked and _succeeds(lambda: jobs.delete(job)):
            open_job(None)


def _live_view(job: Job, was_active: bool) -> None:
    """What is refreshed while the job is active; an error takes the place of a damaged job."""
    attempt(lambda: _view(job, was_active))


def _view(job: Job, was_active: bool) -> None:
    events = job.events()
    status = job.status_from(events)
    if status.is_active != was_active:
        st.rerun()  # the whole page, which starts or stops refreshing
    _progress(job, status, events)
    film(job, events, status.steps)


def _progress(job: Job, status: Status, events: tuple[Event, ...]) -> None:
    color, icon = _BADGES[status.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(status.state, color=color, icon=icon)  # type: ignore[arg-type]
        st.caption(_summary(status, events))
        _controls(job, status)
    if status.state != "finished":
        st.progress(min(1.0, status.step / status.steps))
    if status.sentence:
        is_error = status.state in ("failed", "interrupted")
        (st.error if is_error else st.warning)(escape_markdown(status.sentence))


def _summary(status: Status, events: tuple[Event, ...]) -> str:
    """Step, loss, throughput, memory and accuracy in one line."""
    if status.state == "queued":
        if not status.jobs_ahead:
            return "Starting …"
        others = "1 job" if status.jobs_ahead == 1 else f"{status.jobs_ahead} jobs"
        return f"Queued: {others} ahead on this device."
    parts = [f"Step {status.step:,} of {status.steps:,}"]
    if steps := of_kind(events, "step"):
        last = steps[-1]
        if status.loss is not None:
            parts.append(f"loss {status.loss:.4g}")
        has_images = any(e.get("text") is None for e in of_kind(events, "probe"))
        if (rate := last.get("tokens_per_second")) is not None:
            parts.append(f"{rate:,.0f} {'images' if has_images else 'tokens'}/s")
        if (memory := last.get("memory")) is not None:
            parts.append(f"{memory / 2**20:,.0f} MB")
    if evaluations := of_kind(events, "evaluation"):
        parts.append(f"held-out accuracy {evaluations[-1]['accuracy']:.1%}")
    return " · ".join(parts)


def _controls(job: Job, status: Status) -> None:
    with st.container(horizontal=True, width="content"):
        if status.is_active:
            if st.button("Pause", icon=":material/pause:", key="pause"):
                attempt(job.pause)
            if st.button("Cancel", icon=":material/close:", key="cancel"):
                attempt(job.cancel)
        elif status.can_resume:
            resume = st.button("Resume", icon=":material/play_arrow:", key="resume", type="primary")
            unlimited = status.state == "stopped" and st.checkbox(
                "Ignore the limits", True, key="resume_unlimited"
            )
            limits = Limits(None, None) if unlimited else None
            if resume and _succeeds(lambda: job.resume(limits)):
                st.rerun()


def _succeeds(action: Callable[[], None]) -> bool:
    """Runs the action; False if it failed, whose error is then shown."""

    def succeed() -> bool:
        action()
        return True

    return bool(attempt(succeed))
