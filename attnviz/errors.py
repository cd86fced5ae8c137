"""The one exception family of attnviz, and what other libraries' exceptions say."""

from __future__ import annotations

MAX_WORDS = 600  # characters of a sentence, which may quote an untrusted file
MAX_QUOTED = 300  # characters of another library's message


class AttnVizError(Exception):
    """A request that cannot be carried out, and what the user can do about it.

    Args:
        problem: what was wrong, as one sentence.
        remedy: what to do about it, as one sentence.

    ``str(error)`` is both, ready to be shown beside the control that caused it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = _shortened(problem)
        self.remedy = _shortened(remedy)
        super().__init__(f"{self.problem} {self.remedy}".strip())


def is_panic(error: BaseException) -> bool:
    """Whether a library's Rust code panicked: a BaseException whose type cannot be imported."""
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)


def first_line(error: BaseException) -> str:
    """The first line of another library's message, without a final period; else its type's name."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return line[:MAX_QUOTED].rstrip(".") or type(error).__name__


def _shortened(words: str) -> str:
    """At most `MAX_WORDS` characters: the beginning and the end."""
    if len(words) <= MAX_WORDS:
        return words
    return f"{words[: MAX_WORDS - 100]} … {words[-97:]}"
