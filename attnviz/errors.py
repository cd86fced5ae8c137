"""The one exception family of attnviz."""

from __future__ import annotations

MAX_WORDS = 600  # characters of a sentence: it may quote a file from anywhere


class AttnVizError(Exception):
    """Something a person asked for cannot be done as asked.

    Args:
        problem: what was wrong, as one sentence a person can read.
        remedy: what to do about it, as one sentence.

    ``str(error)`` is both, ready to be shown beside the control that caused it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = _cut(problem)
        self.remedy = _cut(remedy)
        super().__init__(f"{self.problem} {self.remedy}".strip())


def is_panic(error: BaseException) -> bool:
    """Whether a library's Rust code gave up: a BaseException that cannot be imported."""
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)


def _cut(words: str) -> str:
    """At most `MAX_WORDS` characters: the beginning and the end."""
    if len(words) <= MAX_WORDS:
        return words
    return f"{words[: MAX_WORDS - 100]} … {words[-97:]}"
