"""OpenMP reads once, when torch loads it, how its threads wait: by then it has to be settled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnviz.train import jobs
from attnviz.train.job import SETTINGS_FILE
from attnviz.train.tasks import find
from attnviz.train.tasks.task import settings_for

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(f"pages/{path.name}" for path in (ROOT / "pages").glob("*.py"))

# Ends the program where it begins to load torch.
WATCH = """
import os, sys
def look(event, args):
    if event == "import" and args[0] == "torch":
        print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
        os._exit(0)
sys.addaudithook(look)
"""
# Home and Docs load torch later, or never: what stands in the environment then is what counts.
APP = """
from streamlit.testing.v1 import AppTest
AppTest.from_file({!r}).run(timeout=120)
import torch
"""
TRAINING = """
import runpy
sys.argv[1:] = [{!r}]
runpy.run_module("attnviz.train", run_name="__main__")
"""


def policy(program: str, **setting: str) -> str:
    """How threads will wait, as the environment says when the program loads torch."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [sys.executable, "-c", WATCH + program],
        cwd=ROOT,
        env={**environment, **setting},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize("script", ["app.py", *PAGES])
def test_the_apps_threads_sleep_while_they_wait(script: str) -> None:
    """A page by itself too: so it runs for a server's first visitor, without app.py."""
    assert policy(APP.format(script)) == "PASSIVE"


def test_a_trainings_threads_sleep_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNVIZ_JOBS", str(tmp_path))
    job = jobs.create(settings_for(find("copy")))
    assert policy(TRAINING.format(str(job.folder / SETTINGS_FILE))) == "PASSIVE"


def test_a_persons_own_setting_stays() -> None:
    assert policy(APP.format("app.py"), OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_the_library_leaves_the_choice_to_its_program() -> None:
    assert policy("import attnviz; attnviz.wrap(None)") == "None"
