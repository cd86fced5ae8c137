"""Fixtures for tests of the canvas by itself, in a small app of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.server import serve
from tests.browser.canvas_page import CanvasOn


@pytest.fixture(scope="session")
def canvas_server() -> Iterator[str]:
    """The address of tests/browser/apps/canvas_app.py."""
    with serve("tests/browser/apps/canvas_app.py") as address:
        yield address


@pytest.fixture
def look(visit, canvas_server: str) -> Callable[..., CanvasOn]:
    """Open that app: ``look("mode=map&n=20", scheme="dark")``."""

    def at(query: str, **how: object) -> CanvasOn:
        return CanvasOn(visit(server=canvas_server, **how).open(f"/?{query}"))

    return at
