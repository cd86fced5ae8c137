"""The backend knows nothing of screens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert "streamlit" not in sys.modules, f"{name} imports streamlit"
"""


def modules() -> list[str]:
    """Every module of the backend; those run as programs do their work when imported."""
    files = [file.relative_to(ROOT) for file in (ROOT / "attnviz").rglob("*.py")]
    dotted = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    return sorted(
        name
        for name in dotted
        if not name.startswith("attnviz.ui") and not name.endswith("__main__")
    )


def test_no_backend_module_imports_streamlit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_the_list_of_modules_is_not_empty() -> None:
    assert {"attnviz", "attnviz.trace.trace", "attnviz.charts.heatmap"} <= set(modules())
