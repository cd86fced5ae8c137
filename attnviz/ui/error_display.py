"""What a person sees when something can't be done: one sentence, where they asked for it."""

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
    """The error as a person reads it. What nobody foresaw goes to the log under a reference."""
    if isinstance(error, AttnVizError):
        return str(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's own, and what it says on the CPU
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
    """``action()``, or None after its error was shown in ``where``.

    Streamlit's own stop and rerun signals are no ``Exception`` and pass through.
    """
    try:
        return action()
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        show_error(error, where)
        return None


def show_error(error: BaseException, where: DeltaGenerator | None = None) -> None:
    """Show one error beside the control that caused it."""
    # The sentence may quote a person's own words, which are not Markdown.
    (where or st).error(escape_markdown(error_message(error)), icon=":material/error:")


def escape_markdown(text: str) -> str:
    r"""Text that Markdown shows as it is: ``escape_markdown("*a*") == "\\*a\\*"``."""
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in text)


_MARKDOWN = frozenset("\\`*_{}[]()<>#+-!|~$:^&=")
