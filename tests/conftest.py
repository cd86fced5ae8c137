"""Fixtures for the app's tests: a real server, and a real Chromium that may only talk to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import settings
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from benchmarks.server import serve
from tests.browser import chromium

TIMEOUT_MS = 90_000  # two cores, shared with other tests
expect.set_options(timeout=TIMEOUT_MS)

# Times vary with the machine's load; what a property says does not.
settings.register_profile("attnviz", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("attnviz")

# Everything a test needs is here: a look-up on the Hub must fail at once, not time out.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the app."""
    with serve("app.py") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium.find(), args=chromium.launch_arguments()
        )
        yield started
        started.close()


class Visit:
    """One person's browser at the app: opens addresses, waits, and collects what goes wrong."""

    def __init__(self, context: BrowserContext, server: str) -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.problems: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        address = message.location.get("url", "")
        # Streamlit's own client looks for its server under the page's address first.
        if message.type == "error" and "/_stcore/" not in address:
            self.problems.append(f"{message.text} {address}")

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def open(self, path: str = "/") -> Page:
        """Open an address of the app and wait until its script has run through."""
        self.page.goto(self.server + path, wait_until="domcontentloaded")
        self.idle()
        return self.page

    def idle(self, quiet_ms: int = 400) -> Page:
        """Wait until no script has run for ``quiet_ms``: an answer to a click is on screen."""
        self.page.wait_for_function(
            """(quiet) => {
                const app = document.querySelector('[data-testid="stApp"]');
                const busy = !app || app.dataset.testScriptState !== 'notRunning'
                    || app.dataset.testConnectionState !== 'CONNECTED'
                    || document.querySelector('[data-testid="stSkeleton"]');
                const now = performance.now();
                if (busy) { window.__quietSince = now; return false; }
                window.__quietSince ??= now;
                return now - window.__quietSince > quiet;
            }""",
            arg=quiet_ms,
            polling=50,
        )
        self.page.evaluate("() => { delete window.__quietSince; }")
        return self.page


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visit]]:
    """Start a visit: ``visit(width=900, scheme="dark")``, of the app unless a server is given.

    At the end of the test no visit may have met a console error or asked any other machine.
    """
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def begin(
        width: int = 1440,
        height: int = 1000,
        scheme: str = "light",
        touch: bool = False,
        server: str | None = None,
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=touch,
            accept_downloads=True,
        )
        contexts.append(context)
        visits.append(Visit(context, server or request.getfixturevalue("server")))
        return visits[-1]

    yield begin
    for context in contexts:
        context.close()
    assert not [problem for one in visits for problem in one.problems]
    assert not [url for one in visits for url in one.outside]
