"""Shares of a whole on a page: a bar for each, with its token and number. Bars can be clickable."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import streamlit as st

from attnviz.canvas.bundle import HTML
from attnviz.ui.served_component import served_component


@dataclass(frozen=True)
class Share:
    """One bar.

    Attributes:
        token: its name. position: the token's, shown before the name.
        share: 0 to 1.
        help: what a click does, or more about the bar, on hover.
    """

    token: str
    share: float
    position: int | None = None
    help: str = ""
    clickable: bool = False


def share_bars(
    shares: Sequence[Share], *, key: str, label: str, on_choose: Callable[[int], None] | None = None
) -> None:
    """Draw the bars.

    Args:
        label: what a screen reader says of them.
        on_choose: called with the index of the clickable bar that was clicked, before the rerun.
    """

    def chosen() -> None:
        index: Any = st.session_state[key].chosen
        if on_choose and isinstance(index, int) and 0 <= index < len(shares):
            on_choose(index)

    mount = served_component("shares", HTML, "shares.js")
    data = json.dumps({"label": label, "shares": [asdict(share) for share in shares]})
    mount(key=key, data=data.encode(), on_chosen_change=chosen)
