"""What a user did on the canvas. It comes from a browser, so everything is validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_MAX_INDEX = 1 << 31


@dataclass(frozen=True)
class Viewport:
    """The part of a map that is on screen.

    Attributes:
        rows, cols: first and one past the last, in cells.
        have: id of the map whose overview the browser has, so that it need not be sent again.
    """

    rows: tuple[int, int]
    cols: tuple[int, int]
    have: str = ""

    def header(self) -> dict[str, object]:
        """The rows and columns, for the browser."""
        return {"rows": self.rows, "cols": self.cols}


@dataclass(frozen=True)
class TokenRef:
    """A token that was clicked in the lines view or the strip."""

    side: Literal["row", "col"]
    index: int


@dataclass(frozen=True)
class CanvasState:
    """What a canvas reports to its page; None where the user did nothing.

    Attributes:
        selected: (layer, head) clicked in the grid.
        view: the viewport of the map, once it was moved.
        cell: (query, key) clicked in the map.
        query: chosen in the neuron view.
        token: selected in the lines view, focused in the strip.
        step: shown in the film of a training; None at its latest.
        missing: id of a grid or a training that the page took the browser to have.
        weight: (panel, query, key) clicked in a layer's flow.
    """

    selected: tuple[int, int] | None = None
    view: Viewport | None = None
    cell: tuple[int, int] | None = None
    query: int | None = None
    token: TokenRef | None = None
    step: int | None = None
    missing: str | None = None
    weight: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, raw: object) -> CanvasState:
        """From a component's raw state; malformed parts are ignored."""
        state = raw if isinstance(raw, Mapping) else {}
        view, token = _value(state, "view"), _value(state, "token")
        missing = _value(state, "missing")
        return cls(
            selected=_pair(_value(state, "selected")),
            view=_view(view) if isinstance(view, Mapping) else None,
            cell=_pair(_value(state, "cell")),
            query=_index(_value(state, "query")),
            token=_token(token) if isinstance(token, Mapping) else None,
            step=_index(_value(state, "step")),
            missing=missing if isinstance(missing, str) else None,
            weight=_triple(_value(state, "weight")),
        )


def _value(state: Mapping[str, Any], name: str) -> object:
    """A value of the state. It has a counter beside it, so that repeating it counts as a change."""
    sent = state.get(name)
    return sent.get("value") if isinstance(sent, Mapping) else None


def _view(raw: Mapping[str, Any]) -> Viewport | None:
    rows, cols, have = _pair(raw.get("rows")), _pair(raw.get("cols")), raw.get("have", "")
    if rows is None or cols is None or rows[0] >= rows[1] or cols[0] >= cols[1]:
        return None
    return Viewport(rows, cols, have if isinstance(have, str) else "")


def _token(raw: Mapping[str, Any]) -> TokenRef | None:
    side, index = raw.get("side"), _index(raw.get("index"))
    if side not in ("row", "col") or index is None:
        return None
    return TokenRef(side, index)


def _pair(raw: object) -> tuple[int, int] | None:
    if not isinstance(raw, (list, tuple)) or len(raw) != 2:
        return None
    first, second = _index(raw[0]), _index(raw[1])
    return None if first is None or second is None else (first, second)


def _triple(raw: object) -> tuple[int, int, int] | None:
    if not isinstance(raw, (list, tuple)) or len(raw) != 3:
        return None
    rest, first = _pair(raw[1:]), _index(raw[0])
    return None if rest is None or first is None else (first, *rest)


def _index(raw: object) -> int | None:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < _MAX_INDEX:
        return None
    return raw
