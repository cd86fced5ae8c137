"""A canvas as an HTML file, made where Streamlit is not installed: in a notebook, say."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits

ROOT = Path(__file__).parents[3]

PROGRAM = """
import sys
sys.modules["streamlit"] = None  # importing it raises ImportError

import torch
from transformers import GPT2Config, GPT2LMHeadModel
import attnviz
from attnviz.canvas import as_html, map_payload

torch.manual_seed(0)
config = GPT2Config(vocab_size=20, n_layer=1, n_head=2, n_embd=16, n_positions=32)
model = attnviz.wrap(GPT2LMHeadModel(config).eval())
trace = model.trace(inputs={"input_ids": torch.arange(9)[None]})
torch.save(trace.attention(0, 1).weights(), sys.argv[1])
print(as_html(map_payload(trace, 0, 1), "Layer 0, head <1>"))
"""


def test_as_html_needs_no_streamlit_and_holds_the_numbers(tmp_path: Path) -> None:
    saved = tmp_path / "weights.pt"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(saved)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    page = done.stdout
    assert page.startswith("<!doctype html>")
    assert "<title>Layer 0, head &lt;1&gt;</title>" in page
    assert not re.findall(r"(?:src|href)\s*=", page)  # nothing is fetched
    found = re.search(r'atob\("([^"]+)"\)', page)
    assert found is not None
    header, arrays = wire.unpack(base64.b64decode(found[1]))
    weights = torch.load(saved).numpy()
    assert header["shape"] == [9, 9]
    shown = np.nan_to_num(SignificantDigits().decode(arrays["base"]))
    np.testing.assert_allclose(shown, weights, rtol=5.1e-4, atol=1e-7)
