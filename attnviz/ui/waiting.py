"""What a waiting page shows: its position in the queue."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from attnviz.ui.executor import Report


def no_report(ahead: int) -> None:
    """The report of work that no page waits for visibly."""


def queue_status(where: DeltaGenerator, doing: str) -> Report:
    """A report that shows the position in the queue, or what is being done, in ``where``.

    Each call is also a moment at which Streamlit can stop or rerun the waiting page.
    """

    def report(ahead: int) -> None:
        requests = "1 request" if ahead == 1 else f"{ahead} requests"
        status = f"Waiting, {requests} in front" if ahead else f"{doing} …"
        where.caption(f":material/hourglass_top: {status}")

    return report
