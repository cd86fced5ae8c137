"""How traces and attention maps show themselves in a notebook.

The code that draws them is in a higher layer: `trace/` must not import `canvas/`. So they inherit
from `Displayable`, and `attnviz/__init__.py`, the top of the package, registers the function that
draws. It is imported before any of its modules; the function imports `canvas/` only when called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Shown(Protocol):
    """Something that a notebook draws."""

    def _repr_html_(self) -> str: ...


Show = Callable[..., Shown]

_registered: dict[str, Show] = {}


def register(show: Show) -> None:
    """Sets what shows an object: ``show(object, **options)``."""
    _registered["show"] = show


class Displayable:
    """Mixin: the last expression of a notebook's cell draws itself, in any front end."""

    def show(self, **options: Any) -> Shown:
        """This object for a notebook, in a frame of its own that runs offline.

        Args:
            options: ``height`` in px, ``theme`` ("system", "light" or "dark"), ``title``; of a
                trace also ``storage``, ``image``, ``selected`` and ``item``.
        """
        return _registered["show"](self, **options)

    def _repr_html_(self) -> str:
        return _registered["show"](self, automatic=True)._repr_html_()
