"""The exported Python, executed, prints the numbers that Explore shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import attnviz
from attnviz.analysis.code_export import trace_code
from attnviz.trace.model import Model
from attnviz.trace.requests import ModelChoice, Sampling, TraceRequest
from attnviz.ui.explore import head_view

TEXT = 'He said "it\'s {fine}"\n'
CHOICE = ModelChoice("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


def run(code: str, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], str]:
    torch.set_printoptions(precision=8, threshold=1_000_000)
    names: dict[str, object] = {}
    try:
        exec(compile(code, "program", "exec"), names)
    finally:
        torch.set_printoptions(profile="default")
    return names, capsys.readouterr().out


@pytest.mark.parametrize("view", [view for view in head_view.VIEWS if view != "Image"])
def test_the_code_of_every_view_prints_its_numbers(
    view: str, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = model.trace(TEXT)
    code = trace_code(CHOICE, TraceRequest(text=TEXT), trace.layers[3], 5, view, query=2)
    names, printed = run(code, capsys)
    a = trace.attention(3, 5)
    assert torch.equal(names["a"].weights(), a.weights())  # type: ignore[attr-defined]
    number = {
        "Map": a.weights()[2, 1],
        "Scores": a.scores()[2, 1],
        "Lines": trace.attention(3, 0).weights()[1, 0],
        "Neuron": a.weights()[2, 1],
        "Q": a.q[2, 1],
        "K": a.k[2, 1],
        "V": a.v[2, 1],
        "Output": a.output()[2, 1],
    }[view]
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", printed)]
    # eight decimals are printed, and a row by itself rounds otherwise than among all rows
    assert any(x == pytest.approx(float(number), rel=1e-5, abs=1e-7) for x in numbers)
    assert "passed=True" in printed


def test_the_code_of_the_image_view_prints_a_querys_weights_on_the_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    picture.save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    trace = attnviz.load("tiny-digits", device="cpu").trace(image=picture)
    request = TraceRequest.of_image(b"the bytes of image.png")
    choice = ModelChoice("tiny-digits", device="cpu")
    names, printed = run(trace_code(choice, request, trace.layers[1], 2, "Image", query=3), capsys)
    row = trace.attention(1, 2).weights()[3]
    assert names["on_patches"].tolist() == pytest.approx(row[1:].tolist())  # type: ignore[attr-defined]
    assert f"{float(row[0]):.4f}"[:6] in printed and "passed=True" in printed


def test_generated_text_is_generated_again(
    model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    how = Sampling(3, temperature=1.2, top_k=40, top_p=0.9, seed=5)
    made = model.generate(TEXT, max_new_tokens=3, temperature=1.2, top_k=40, top_p=0.9, seed=5)
    request = TraceRequest(text=TEXT, sampling=how)
    code = trace_code(CHOICE, request, made.trace.layers[0], 0, "Map")
    names, _ = run(code, capsys)
    assert names["made"].tokens == made.tokens  # type: ignore[attr-defined]


def test_a_pair_and_an_image_are_passed_on(model: Model) -> None:
    layer = model.trace("x").layers[0]
    pair = trace_code(CHOICE, TraceRequest(text="a", pair="b"), layer, 0, "Map")
    assert "model.trace('a', pair='b')" in pair
    image = trace_code(CHOICE, TraceRequest.of_image(b"..."), layer, 0, "Map")
    assert "from PIL import Image" in image
    assert "model.trace(image=image)" in image
    compile(image, "program", "exec")


def test_a_folder_is_found_from_anywhere(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    layer = model.trace("x").layers[0]
    code = trace_code(ModelChoice("mine"), TraceRequest(text="a"), layer, 0, "Map")
    assert f"attnviz.load({str(tmp_path / 'mine')!r}," in code
    hub = trace_code(ModelChoice("openai/gpt"), TraceRequest(text="a"), layer, 0, "Map")
    assert "attnviz.load('openai/gpt'," in hub
