"""How a page shows an error: one sentence, beside the control that caused it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.errors import AttnVizError, is_panic

log = logging.getLogger("attnviz")
T = TypeVar("T")


def error_message(error: BaseException) -> str:
    """One sentence for an error. An unexpected one is logged, and the sentence names its entry."""
    if isinstance(error, AttnVizError):
        return str(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's on a GPU, its message on the CPU
        or "can't allocate memory" in str(error)[:1000]
    ):
        return "There is not enough memory for this. Use a shorter text or a smaller model."
    if isinstance(error, OSError) and error.strerror:
        where = f" {str(error.filename)[:200]}" if error.filename else ""
        return f"A file or folder cannot be used:{where} ({error.strerror})."
    reference = secrets.token_hex(3)
    log.error("reference %s", reference, exc_info=error)
    return f"Something went wrong inside attnviz. The server's log has it under {reference}."


def attempt(action: Callable[[], T], where: DeltaGenerator | None = None) -> T | None:
    """The result of ``action``, or None after its error was shown.

    Streamlit's signals to stop or rerun a script are not of type ``Exception`` and pass through.

    Args:
        where: the container for the error; by default the current one.
    """
    try:
        return action()
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        show_error(error, where)
        return None


def show_error(error: BaseException, where: DeltaGenerator | None = None) -> None:
    """Show an error in a container; by default in the current one."""
    # The sentence may quote input, which is not Markdown.
    (where or st).error(escape_markdown(error_message(error)), icon=":material/error:")


def escape_markdown(text: str) -> str:
    r"""Text that Markdown renders unchanged: ``escape_markdown("*a*") == "\\*a\\*"``."""
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in text)


_MARKDOWN = frozenset("\\`*_{}[]()<>#+-!|~$:^&=")
