from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

import attnviz
from attnviz.errors import AttnVizError
from attnviz.nn import TransformerConfig, TransformerForCausalLM
from attnviz.trace import Trace
from attnviz.train import snapshots
from attnviz.train.job_callback import trace_probe
from attnviz.train.tasks import find
from attnviz.train.tasks.task import prepare, settings_for
from tests.unit.trace.models import BUILD

SMALL = {"vocab_size": 50, "d_model": 32, "n_heads": 4, "n_layers": 2}


def same(live: Trace, again: Trace) -> None:
    """What a snapshot keeps comes back bit by bit: Q, K and V, or the module's own weights.

    What is computed from Q, K and V is equal within float32 rounding alone (assert_close's own
    tolerance): a file's tensors are contiguous, the live ones are views, and on some processors the
    same product of another layout ends in another last bit.
    """
    assert [vars(a) for a in live.layers] == [vars(a) for a in again.layers]
    assert live.tokens == again.tokens
    assert live.target_tokens == again.target_tokens
    for layer in live.layers:
        if layer.source == "refused":
            continue
        for head in range(layer.n_heads):
            a, b = live.attention(layer.index, head), again.attention(layer.index, head)
            if layer.source == "dense":
                assert torch.equal(a.weights(), b.weights())
                continue
            for kept, read in ((a.q, b.q), (a.k, b.k), (a.v, b.v)):
                assert torch.equal(kept, read)
            assert torch.equal(a.scores().isneginf(), b.scores().isneginf())
            for now, then in (
                (a.weights(), b.weights()),
                (a.overview(4), b.overview(4)),
                (a.scores(), b.scores()),
                (a.output(), b.output()),
            ):
                torch.testing.assert_close(then, now)


def build(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return BUILD[name]().eval()


# masks, windows, sinks, biases, soft caps, cross-attention, and weights that stay in the module
@pytest.mark.parametrize("name", sorted(BUILD))
def test_a_reopened_snapshot_is_the_trace(name: str, tmp_path: Path) -> None:
    model = attnviz.wrap(build(name))
    inputs = {"input_ids": torch.arange(5, 15)[None]}
    if model.module.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.arange(5, 9)[None]
    live = model.trace(inputs=inputs)
    snapshots.write(tmp_path / "step-7.safetensors", 7, live)
    again = snapshots.read(tmp_path / "step-7.safetensors")
    assert again.step == 7
    same(live, again.trace)


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "alibi"},
        {"positions": "t5", "softcap": 5.0},
        {"mask": "sliding", "window": 3, "sink": True},
        {"mask": "prefix", "prefix": 4, "n_kv_heads": 1},
    ],
)
def test_our_own_layers_too(options: dict[str, object], tmp_path: Path) -> None:
    module = TransformerForCausalLM(TransformerConfig(**SMALL, **options)).eval()
    live = attnviz.wrap(module).trace(inputs={"input_ids": torch.arange(12)[None]})
    snapshots.write(tmp_path / "s.safetensors", 0, live)
    same(live, snapshots.read(tmp_path / "s.safetensors").trace)


def test_it_keeps_no_n_by_n(tmp_path: Path) -> None:
    module = TransformerForCausalLM(TransformerConfig(**SMALL, positions="rope")).eval()
    sizes = []
    for n in (256, 512):
        live = attnviz.wrap(module).trace(inputs={"input_ids": torch.zeros(1, n).long()})
        snapshots.write(tmp_path / f"{n}.safetensors", 0, live)
        sizes.append((tmp_path / f"{n}.safetensors").stat().st_size)
    assert sizes[1] < 2.1 * sizes[0]  # linear; with the maps it would be near four times


def test_predictions_and_an_images_patches_are_kept(tmp_path: Path) -> None:
    task = find("digits")
    made = prepare(task, settings_for(task, model={"n_layers": 1}))
    made.module.train()
    live = trace_probe(made)
    assert made.module.training  # put back
    snapshots.write(tmp_path / "s.safetensors", 3, live)
    again = snapshots.read(tmp_path / "s.safetensors")
    assert again.predictions == live.predictions(k=snapshots.N_PREDICTIONS)
    assert [t.text for t in again.trace.row_tokens(0)][:2] == ["[CLS]", "patch 0,0"]


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0 no")
    with pytest.raises(AttnVizError, match="cannot be read"):
        snapshots.read(path)
