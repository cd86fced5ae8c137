"""The Layer lab's numbers: the same in the layer, in the program to copy and in one cell."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnviz.analysis.cell_steps import cell_steps
from attnviz.analysis.code_export import lab_code
from attnviz.analysis.export import lab_csv, lab_npz
from attnviz.analysis.lab import MAX_TOKENS, Lab, embed, layer_of, tokenize
from attnviz.errors import AttnVizError
from attnviz.nn import AttentionConfig

WORDS = ("the", "cat", "saw", "the", "dog")
CONTEXT = ("le", "chat", "a", "vu")


def lab_of(config: dict[str, Any] | None = None, **stack: Any) -> Lab:
    settings = {"d_model": 16, "n_heads": 4, "mask": "causal", "bias": False} | (config or {})
    return Lab(AttentionConfig(**settings), WORDS, **stack)


LABS = {
    "first": lab_of(),
    "every option": lab_of(
        {
            "n_kv_heads": 2,
            "d_head": 6,
            "bias": True,
            "dropout": 0.3,
            "scale": 0.4,
            "temperature": 1.7,
            "qk_norm": True,
            "softcap": 3.0,
            "sink": True,
            "mask": "prefix",
            "prefix": 2,
            "positions": "t5",
            "norm": "pre",
            "norm_kind": "rms",
            "feed_forward": True,
            "activation": "swiglu",
            "seed": 7,
        },
        layers=3,
        layer=2,
        padding=2,
    ),
    "learned positions in a stack": lab_of({"positions": "learned"}, layers=2, layer=1),
    "encoder": lab_of({"mask": "none"}, architecture="encoder", padding=1),
    **{
        f"encoder-decoder, {part}": lab_of(
            {"feed_forward": True, "positions": "rope"},
            architecture="encoder-decoder",
            context=CONTEXT,
            part=part,
            layers=2,
            layer=1,
            padding=1,
        )
        for part in ("decoder", "encoder", "cross")
    },
}


@pytest.mark.parametrize(
    ("text", "words", "characters"),
    [
        ("It's a cat!", ["It's", "a", "cat", "!"], list("It's␣a␣cat!")),
        ("don’t stop", ["don’t", "stop"], list("don’t␣stop")),
        ("我爱你 ok", ["我", "爱", "你", "ok"], ["我", "爱", "你", "␣", "o", "k"]),
        ("हिन्दी 👩‍👩‍👧", ["हिन्दी", "👩‍👩‍👧"], ["हि", "न्दी", "␣", "👩‍👩‍👧"]),
        (" e\u0301a\n", ["e\u0301a"], ["e\u0301", "a"]),
    ],
)
def test_tokens_are_words_or_graphemes(text: str, words: list[str], characters: list[str]) -> None:
    assert list(tokenize(text, "words")) == words
    assert list(tokenize(text, "characters")) == characters


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_text_is_an_error(text: str) -> None:
    with pytest.raises(AttnVizError, match="The text is empty"):
        tokenize(text, "words")


def test_too_long_a_text_is_an_error_with_its_length() -> None:
    assert len(tokenize("a " * MAX_TOKENS, "words")) == MAX_TOKENS
    with pytest.raises(AttnVizError, match=f"65 words.*at most {MAX_TOKENS}"):
        tokenize("a " * (MAX_TOKENS + 1), "words")


def test_a_token_has_the_same_vector_at_every_position() -> None:
    x = embed(WORDS, 8, seed=3)
    assert torch.equal(x[0, 0], x[0, 3])
    assert torch.equal(x[0, 1], embed(("cat",), 8, seed=3)[0, 0])
    assert not torch.equal(x, embed(WORDS, 8, seed=4))


def test_layers_of_a_stack_have_weights_of_their_own() -> None:
    config = AttentionConfig(d_model=8, n_heads=2)
    layers = [layer_of(config, depth, part) for depth in (0, 1) for part in ("decoder", "cross")]
    weights = [layer.q_proj.weight for layer in layers]
    for i, one in enumerate(weights):
        assert not any(torch.equal(one, other) for other in weights[i + 1 :])


def test_bias_changes_the_numbers() -> None:
    assert not torch.equal(lab_of().steps().q, lab_of({"bias": True}).steps().q)


def test_absolute_positions_are_added_once() -> None:
    assert LABS["learned positions in a stack"].steps().position_vectors is None
    assert lab_of({"positions": "learned"}).steps().position_vectors is not None


def test_the_decoder_reads_the_encoders_last_layer() -> None:
    lab = LABS["encoder-decoder, cross"]
    steps = lab.steps()
    assert torch.equal(steps.context, LABS["encoder-decoder, encoder"].steps().output)
    assert steps.weights.shape == (1, 4, len(lab.query_tokens), len(lab.key_tokens))
    assert lab.key_tokens == (*CONTEXT, "[pad]")
    assert float(steps.weights[..., -1].abs().max()) == 0.0  # nobody attends to padding


def test_the_decoders_own_attention_ignores_the_encoder() -> None:
    steps = LABS["encoder-decoder, decoder"].steps()
    assert steps.context is None
    assert steps.feed_forward is None  # it comes after the cross-attention


@pytest.mark.parametrize(
    "make",
    [
        lambda: lab_of(layers=2, layer=2),
        lambda: lab_of(architecture="encoder-decoder"),
    ],
)
def test_missing_layers_and_texts_are_errors(make: Any) -> None:
    with pytest.raises(AttnVizError):
        make()


@pytest.mark.parametrize("name", LABS)
def test_the_program_to_copy_computes_the_same_numbers(name: str) -> None:
    lab = LABS[name]
    names: dict[str, Any] = {}
    exec(lab_code(lab, head=1), names)
    ours = {stage.name: stage.value for stage in lab.steps().stages}
    theirs = {stage.name: stage.value for stage in names["steps"].stages}
    assert ours.keys() == theirs.keys()
    for stage, value in ours.items():
        assert torch.equal(value, theirs[stage]), stage


def test_the_program_runs_alone(tmp_path: Path) -> None:
    lab = LABS["encoder-decoder, cross"]
    program = tmp_path / "view.py"
    program.write_text(lab_code(lab) + "\ntorch.save(steps.weights, 'weights.pt')\n")
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PATH": ""},
        check=True,
        capture_output=True,
    )
    # within float32 rounding: another process chooses its kernels and threads for itself
    torch.testing.assert_close(torch.load(tmp_path / "weights.pt"), lab.steps().weights)


@pytest.mark.parametrize("name", LABS)
def test_a_cell_adds_up(name: str) -> None:
    """float32 sums in another order: 1e-5 is some ten units in the last place of a score of 10."""
    steps = LABS[name].steps()
    n_q, n_k = steps.weights.shape[2:]
    for head in range(4):
        for query in range(n_q):
            cell = cell_steps(steps, head, query, (query + head) % n_k)
            assert cell.product.sum() == pytest.approx(cell.raw, abs=1e-5)
            assert cell.raw * cell.scaling == pytest.approx(cell.scaled, abs=1e-5)
            score = cell.scaled if cell.capped is None else cell.capped
            score += cell.bias or 0.0
            assert cell.score == pytest.approx(score if cell.visible else -np.inf, abs=1e-5)
            if cell.total:
                share = np.exp(cell.score - cell.highest) / cell.total
                assert cell.weight == pytest.approx(share, abs=1e-6)
            assert cell.contributions.sum(0) == pytest.approx(cell.output, abs=1e-5)


def test_files_hold_the_numbers_shown() -> None:
    lab = LABS["every option"]
    steps = lab.steps()
    arrays = np.load(io.BytesIO(lab_npz(steps)))
    assert np.array_equal(arrays["weights"], steps.weights[0].numpy())
    rows = list(csv.DictReader(io.StringIO(lab_csv(steps, lab))))
    keys = [row for row in rows if row["matrix"] == "k"]
    assert {row["head"] for row in keys} == {"0", "1"}  # two key/value heads for four queries'
    weights = [row for row in rows if row["matrix"] == "weights" and row["head"] == "2"]
    values = np.array([float(row["value"]) for row in weights], dtype=np.float32)
    assert np.array_equal(values, steps.weights[0, 2].numpy().ravel())
    assert weights[-1]["row_label"] == "[pad]"
    assert {stage.name for stage in steps.stages} == {row["matrix"] for row in rows}
