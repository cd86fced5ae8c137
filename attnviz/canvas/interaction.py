"""What a person did on the canvas, read with suspicion: it comes from a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_MOST = 1 << 31


@dataclass(frozen=True)
class Viewport:
    """The part of a map that is on screen.

    Attributes:
        rows, cols: first and one past the last, in cells.
        have: the map whose overview the browser holds, so that it need not be sent again.
    """

    rows: tuple[int, int]
    cols: tuple[int, int]
    have: str = ""

    def header(self) -> dict[str, object]:
        """What a map is told of it."""
        return {"rows": self.rows, "cols": self.cols}


@dataclass(frozen=True)
class TokenRef:
    """A token that was clicked in the lines view or the strip."""

    side: Literal["row", "col"]
    index: int


@dataclass(frozen=True)
class CanvasState:
    """All that a canvas tells its page; None where nothing was done.

    Attributes:
        selected: (layer, head) clicked in the grid.
        view: what of the map is on screen, when it has been moved.
        cell: (query, key) clicked in the map.
        query: chosen in the neuron view.
        token: held in the lines view, focused in the strip.
    """

    selected: tuple[int, int] | None = None
    view: Viewport | None = None
    cell: tuple[int, int] | None = None
    query: int | None = None
    token: TokenRef | None = None

    @classmethod
    def of(cls, raw: object) -> CanvasState:
        """From a component's raw state; whatever is malformed counts as not done."""
        held = raw if isinstance(raw, Mapping) else {}
        view, token = _chosen(held, "view"), _chosen(held, "token")
        return cls(
            selected=_pair(_chosen(held, "selected")),
            view=_view(view) if isinstance(view, Mapping) else None,
            cell=_pair(_chosen(held, "cell")),
            query=_index(_chosen(held, "query")),
            token=_token(token) if isinstance(token, Mapping) else None,
        )


def _chosen(held: Mapping[str, Any], name: str) -> object:
    """What is said travels with the number of its turn, so that the same again is a change."""
    sent = held.get(name)
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


def _index(raw: object) -> int | None:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < _MOST:
        return None
    return raw
