"""Query parameters: what a link restores is read and written here.

    text = linked_text("Text", key="text")          # a widget, kept in step with ?text=...
    layer = linked_index("Layer", 12, key="layer")  # ?layer=3
    write("pins", "3.5,4.0")                        # a value without a widget

Streamlit's own ``bind="query-params"`` does for any widget whose values are short, are written in
the link as they are on screen, and cannot be out of range. The functions here are for the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx

from attnviz.ui.kept_inputs import KEPT, NO_LONGER_KEPT, kept_inputs

# Servers and chat programs cut addresses off at 8 KB; the rest of the view needs some of it.
LINK_BYTES = 6_000

_PAGE, _ARRIVED, _OPENED = "_page", "_page_arrived", "_page_opened"
_UNWRITTEN, _LEFT, _COMPLETED = "_unwritten", "_links_left", "_link_completed"


def read(name: str) -> str:
    """The parameter's value; empty if the link has none."""
    unwritten = st.session_state.get(_UNWRITTEN, {})
    if name in unwritten:
        return unwritten[name] or ""
    return st.query_params.get(name, "")


def write(name: str, value: str | None) -> None:
    """Put a value into the link; None removes it.

    While a page opens, what it adds by itself waits for the next run: each change of the address
    would be an entry that the browser's Back has to pass.
    """
    if page_opened():
        st.session_state.setdefault(_UNWRITTEN, {})[name] = value
        return
    st.session_state.get(_UNWRITTEN, {}).pop(name, None)
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


def _write_what_waits() -> None:
    """At the start of a run, in one go. After Back the address says something else."""
    unwritten = st.session_state.pop(_UNWRITTEN, {})
    link = {name: value for name, value in (st.query_params.to_dict() | unwritten).items() if value}
    if unwritten and not went_back() and link != st.query_params.to_dict():
        for name in [name for name, value in unwritten.items() if value is None]:
            st.query_params.pop(name, None)
        st.query_params.update({name: value for name, value in unwritten.items() if value})


def unlink(name: str) -> None:
    """Remove the value of a control that is not drawn now; it stays in the session."""
    write(name, None)
    st.session_state.pop(f"_link_{name}", None)


def went_back() -> bool:
    """Whether the browser's Back or Forward caused this run: the link then decides everything."""
    run = get_script_run_ctx()
    return run is not None and run.is_history_navigation


def arrive(page: str) -> dict[str, str]:
    """To be called by the app in each run, with the page that is shown.

    Returns:
        The link that the page was left with, if the session comes back to it without any.
    """
    if st.session_state.get(_PAGE) == page:
        return {}
    st.session_state.update({_PAGE: page, _ARRIVED: True, _OPENED: False})
    if st.query_params or went_back():
        return {}
    left: dict[str, str] = st.session_state.get(_LEFT, {}).get(page, {})
    return left


def keep_link(page: str) -> None:
    """To be called by the app after each run: keep the page's link for a later visit."""
    unwritten = st.session_state.get(_UNWRITTEN, {})
    link = {name: value for name, value in (st.query_params.to_dict() | unwritten).items() if value}
    st.session_state.setdefault(_LEFT, {})[page] = link


def begin_page() -> None:
    """To be called by a page at its start, if it uses ``page_opened``."""
    st.session_state[_OPENED] = st.session_state.pop(_ARRIVED, False)
    st.session_state.pop(_COMPLETED, None)
    _write_what_waits()


def end_page() -> None:
    """To be called by such a page at its end."""
    st.session_state[_OPENED] = False


def completed() -> None:
    """What the link lacks was set in the session, and is no default."""
    st.session_state[_COMPLETED] = True


def page_opened() -> bool:
    """Whether this run is the first since the session came to its page."""
    return bool(st.session_state.get(_OPENED))


def link_opened() -> bool:
    """Whether this run shows what a link says, not what a person changed on the page."""
    return went_back() or page_opened()


def linked_text(
    label: str,
    *,
    key: str,
    default: str = "",
    height: int = 100,
    placeholder: str = "",
    help: str = "",
) -> str:
    """A text area whose text is in the link under ``key``.

    One that is too long for that is kept by the server, and its name is in the link.
    """
    kept_key = kept_name(key)
    opened, opened_name = _opened_link(key), _opened_link(kept_key)
    kept = kept_inputs().open(opened_name) if opened_name else None
    if kept is not None:
        st.session_state[key] = kept.decode("utf-8", "surrogatepass")
    elif opened is not None:
        st.session_state[key] = opened or default
    elif key not in st.session_state:
        st.session_state[key] = default
    with st.container():  # keeps the caption below its own box where boxes stand side by side
        text = st.text_area(
            label,
            key=key,
            height=height,
            placeholder=placeholder,
            help=help or None,
            persist_state="session",
        )
        fits = len(quote(text, errors="surrogatepass")) <= LINK_BYTES
        name = None if fits else kept_inputs().add(text.encode("utf-8", "surrogatepass"))
        _follow_widget(key, text if fits and text != default else None)
        _follow_widget(kept_key, name)
        if opened_name and kept is None:
            st.caption(f":material/link_off: The text of this link {NO_LONGER_KEPT}")
        elif not fits:
            st.caption(f":material/link: This text is too long for a link, so {KEPT}")
    return text


def kept_name(key: str) -> str:
    """The parameter for the name of an input that the server keeps."""
    return f"{key}_kept"


def linked_choice(
    draw: Callable[..., Any],
    label: str,
    titles: Mapping[str, str],
    *,
    key: str,
    older: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> str:
    """A choice that the link carries by a short name, whatever it is called on the screen.

    Args:
        draw: ``st.pills`` or ``st.segmented_control``.
        titles: name to title. The first name is the default and is left out of the link. Older
            links hold titles, and still open.
        older: what names were called before, in links that still open: title to name.
        options: more of ``draw``'s arguments.
    """
    names = list(titles)
    opened = _opened_link(key)
    opened = older.get(opened or "", opened)
    if found := [name for name in names if opened in (name, titles[name])]:
        st.session_state[key] = found[0]
    elif opened == "":
        st.session_state[key] = names[0]
    if st.session_state.get(key) not in titles:
        st.session_state[key] = names[0]
    chosen: str = draw(
        label,
        names,
        required=True,
        key=key,
        format_func=titles.__getitem__,
        persist_state="session",
        **options,
    )
    _follow_widget(key, None if chosen == names[0] else chosen)
    return chosen


def linked_index(label: str, n: int, *, key: str, help: str = "") -> int:
    """A slider over 0 .. n-1; with one choice it is disabled. It is always in the link."""
    opened = _opened_link(key)
    if opened is not None:
        st.session_state[key] = int(opened) if re.fullmatch(r"\d{1,5}", opened) else 0
    st.session_state.setdefault(key, 0)
    clamp(key, max(0, n - 1))
    if n <= 1:
        st.slider(label, 0, 1, disabled=True, key=f"{key}_only", help=help or None)
        _follow_widget(key, None)
        return 0
    index = st.slider(label, 0, n - 1, key=key, help=help or None, persist_state="session")
    _follow_widget(key, str(index))
    return index


def clamp(key: str, last: int) -> None:
    """Lower a widget's value to ``last`` where a smaller model has no such index."""
    if st.session_state.get(key, 0) > last:
        st.session_state[key] = last


def linked_integer(
    where: Any,
    label: str,
    low: int,
    high: int,
    *,
    key: str,
    empty: bool = False,
    **options: Any,
) -> Any:
    """An integer input that is in the link: ``low`` at first, or None where it may be empty.

    Args:
        where: the container to draw it in, or ``st`` itself.
        options: more of ``st.number_input``'s arguments.
    """
    bind: Literal["query-params"] | None = "query-params"
    if _is_infinite(read(key)):
        # Streamlit reads "inf" and 1e400 in a link as numbers, and fails where it makes integers of
        # them. This run's input is not bound, and the next run finds the parameter gone.
        bind = None
        with suppress(StreamlitAPIException):  # still bound to the input of the run before
            del st.query_params[key]
    value = None if empty else "min"
    return where.number_input(label, low, high, value, key=key, bind=bind, **options)


def _opened_link(key: str) -> str | None:
    """The value of a link that was just opened or gone back to; None if the widget has it.

    Of a view gone back to, a value that the link lacks is "", which stands for the default.
    """
    value = read(key) or None
    last = f"_link_{key}"
    if went_back():
        st.session_state[last] = value
        return None if value is None and st.session_state.get(_COMPLETED) else value or ""
    if value is None or value == st.session_state.get(last):
        return None
    st.session_state[last] = value
    return value


def _follow_widget(key: str, value: str | None) -> None:
    """Write a widget's value to the link, if it changed."""
    if (value or "") != read(key):
        st.session_state[f"_link_{key}"] = value
        write(key, value)


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False
