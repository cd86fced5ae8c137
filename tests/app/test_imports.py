"""The backend knows nothing of screens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import importlib, pkgutil, sys
import attnviz
names = [m.name for m in pkgutil.walk_packages(attnviz.__path__, "attnviz.")]
backend = [n for n in names if not n.startswith("attnviz.ui") and not n.endswith("__main__")]
for name in backend:
    importlib.import_module(name)
print(len(backend))
assert "streamlit" not in sys.modules, "the backend imports streamlit"
"""


def test_no_backend_module_imports_streamlit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30
