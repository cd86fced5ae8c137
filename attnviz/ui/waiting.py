"""What a waiting page shows: its place in the queue."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from attnviz.ui.executor import Report


def no_report(ahead: int) -> None:
    """A report that nobody reads."""


def queue_status(where: DeltaGenerator, doing: str) -> Report:
    """A report that shows the place in the queue in ``where``.

    Each call is also the moment at which Streamlit may stop or rerun the waiting page.
    """

    def report(ahead: int) -> None:
        people = "1 request" if ahead == 1 else f"{ahead} requests"
        place = f"Waiting, {people} in front" if ahead else f"{doing} …"
        where.caption(f":material/hourglass_top: {place}")

    return report
