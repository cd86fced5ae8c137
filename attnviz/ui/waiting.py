"""What a waiting page shows: its position in the queue, and how far its work is."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from attnviz.ui.executor import JobStatus, Report


def no_report(status: JobStatus) -> None:
    """The report of work that no page waits for visibly."""


def queue_status(where: DeltaGenerator, doing: str, note: str = "") -> Report:
    """A report that shows the position in the queue, or what is done so far, in ``where``.

    Args:
        note: what to know meanwhile.

    Each call of the report is also a moment at which Streamlit can stop or rerun the waiting page.
    """

    def report(status: JobStatus) -> None:
        requests = "1 request" if status.ahead == 1 else f"{status.ahead} requests"
        so_far = f"layer {status.done} of {status.total}" if status.total else ""
        words = f"Waiting, {requests} in front" if status.ahead else f"{doing} … {so_far}"
        where.caption(f":material/hourglass_top: {words.strip()}{note and f' · {note}'}")

    return report
