"""Small tasks that a transformer learns from scratch, most in half a minute on two cores."""

from __future__ import annotations

from attnviz.errors import AttnVizError
from attnviz.train.tasks import brackets, dates, digits, modular, own_text, sequences
from attnviz.train.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        sequences.INDUCTION,
        sequences.COPY,
        sequences.REVERSE,
        sequences.SORT,
        brackets.BRACKETS,
        modular.MODULAR,
        dates.DATES,
        own_text.TEXT,
        digits.DIGITS,
    )
}

__all__ = ["TASKS", "Task", "find"]


def find(name: str) -> Task:
    """The task called ``name``.

    Raises:
        AttnVizError: there is no such task.
    """
    if name not in TASKS:
        raise AttnVizError(f"There is no task '{name}'.", f"Choose one of {', '.join(TASKS)}.")
    return TASKS[name]
