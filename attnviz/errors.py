"""The one exception family of attnviz."""

from __future__ import annotations


class AttnVizError(Exception):
    """Something a person asked for cannot be done as asked.

    Args:
        problem: what was wrong, as one sentence a person can read.
        remedy: what to do about it, as one sentence.

    ``str(error)`` is both, ready to be shown beside the control that caused it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}".strip())
