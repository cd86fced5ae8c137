"""The Train page in a real browser: a job started, watched, cancelled, resumed and opened."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from attnviz.train import jobs

ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 120  # torch and transformers are imported on a cold disk
TIMEOUT_MS = 120_000  # a job's process has to start, on two cores that others use
APP = """
import streamlit as st
train, explore = st.Page("pages/train.py"), st.Page("pages/explore.py")
page = st.navigation([train, explore])
st.set_page_config(layout="wide")
page.run()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page beside the one it links to, over a jobs folder of its own."""
    root = tmp_path_factory.mktemp("site")
    (root / "app.py").write_text(APP)
    (root / "pages").symlink_to(ROOT / "pages")
    (root / ".streamlit").symlink_to(ROOT / ".streamlit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    environment = {**os.environ, "ATTNVIZ_JOBS": str(root / "jobs"), "PYTHONPATH": str(ROOT)}
    with (root / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, (root / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", root / "jobs"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def page(
    browser: Browser, site: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The Train page, opened."""
    monkeypatch.setenv("ATTNVIZ_JOBS", str(site[1]))
    context = browser.new_context(viewport={"width": 1440, "height": 1400})
    made = context.new_page()
    made.set_default_timeout(TIMEOUT_MS)
    made.goto(f"{site[0]}/?door=model&model=tiny-digits")
    yield made
    context.close()
    for job in jobs.all():
        if job.is_alive:
            job.cancel()


def number(page: Page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(value)
    box.press("Enter")


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The condition's value, once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    assert found
    return found


def test_a_job_is_started_watched_cancelled_resumed_and_opened(page: Page) -> None:
    # another model is open already, and Explore has to show the trained one all the same
    page.get_by_text("Fine-tuning supports language models only").wait_for()
    page.get_by_text("Train from scratch").click()
    page.get_by_text("Copy", exact=True).click()
    page.wait_for_url(re.compile(r"\?(.*&)?task=copy"))
    expect(page.get_by_text("trainable parameters")).to_be_visible(timeout=TIMEOUT_MS)
    page.get_by_text("Training settings", exact=True).click()
    number(page, "Steps", "3000")
    expect(page.get_by_role("button", name="Start")).to_be_enabled(timeout=TIMEOUT_MS)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Cancel").wait_for()
    (job,) = until(jobs.all)

    # the curve and the attention move by themselves
    first = page.get_by_text(re.compile(r"Step [\d,]+ of 3,000 · loss"))
    first.wait_for()
    text = first.inner_text()
    page.wait_for_function("(text) => !document.body.innerText.includes(text)", arg=text)
    page.get_by_test_id("stVegaLiteChart").first.wait_for()
    until(lambda: len(job.snapshots()) >= 2)
    slider = page.get_by_test_id("stSlider").filter(has_text="Every head at step")
    slider.wait_for()
    before = slider.inner_text()
    page.wait_for_function(
        """(before) => [...document.querySelectorAll('[data-testid="stSlider"]')]
            .some((s) => s.innerText.includes('Every head') && s.innerText !== before)""",
        arg=before,
    )

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Resume").wait_for()
    assert job.status.state == "cancelled"
    step = job.status.step
    assert 0 < step < 3000
    page.get_by_text("What it learned").wait_for()

    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    until(lambda: job.status.step > step)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    assert job.status.state == "paused"

    page.get_by_role("button", name="Open in Explore").click()
    page.wait_for_url(re.compile("explore"))
    # Explore reads the newest checkpoint, and the example that is of its own vocabulary
    assert job.model is not None
    summary = page.get_by_text(re.compile(rf"{job.model.name} · 2 layers of 4 heads"))
    expect(summary.first).to_be_visible(timeout=TIMEOUT_MS)
    example = next(e for e in job.events() if e["event"] == "probe")["text"]
    expect(page.get_by_label("Text", exact=True)).to_have_value(example)
    page.get_by_text("Traceback").wait_for(state="detached")
