"""Our classifier: pooled, padded, saved and loaded again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import attnviz
from attnviz.errors import AttnVizError
from attnviz.nn import TransformerConfig, TransformerForSequenceClassification

IDS = torch.tensor([[5, 6, 7, 8], [9, 4, 0, 0]])
REAL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def built(architecture: str) -> TransformerForSequenceClassification:
    mask = "none" if architecture == "encoder" else "causal"
    config = TransformerConfig(
        vocab_size=12, d_model=16, n_layers=2, architecture=architecture, mask=mask, num_labels=3
    )
    return TransformerForSequenceClassification(config).eval()


@pytest.mark.parametrize("architecture", ["encoder", "decoder"])
def test_it_pools_what_is_real(architecture: str) -> None:
    model = built(architecture)
    with torch.no_grad():
        logits = model(IDS, attention_mask=REAL).logits
        alone = model(IDS[1:, :2]).logits
        stream = model.model(IDS[1:, :2], use_cache=False).last_hidden_state[0]
    pooled = stream.mean(dim=0) if architecture == "encoder" else stream[-1]
    by_hand = pooled @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(alone[0], by_hand)
    # padding changes the order of sums only
    torch.testing.assert_close(logits[1:], alone, rtol=1e-5, atol=1e-6)


def test_the_last_token_is_found_in_bfloat16() -> None:
    """In bfloat16, 598 and 599 are the same number."""
    config = TransformerConfig(vocab_size=12, d_model=16, positions="none", num_labels=3)
    model = TransformerForSequenceClassification(config).eval().bfloat16()
    ids = torch.arange(600)[None] % 12
    with torch.no_grad():
        stream = model.model(ids, use_cache=False).last_hidden_state[0]
        before, last = model.classifier(stream[-2:])
        logits = model(ids).logits[0]
    assert float((last - before).abs().max()) > 0.1
    # bfloat16 keeps 8 bits
    torch.testing.assert_close(logits, last, rtol=2**-7, atol=2**-7)


def test_the_loss_is_cross_entropy() -> None:
    model = built("encoder")
    labels = torch.tensor([2, 0])
    out = model(IDS, attention_mask=REAL, labels=labels)
    expected = -torch.log_softmax(out.logits.double(), dim=-1)[[0, 1], labels].mean()
    assert float(out.loss) == pytest.approx(float(expected), rel=1e-6)


def test_it_is_saved_opened_and_traced(tmp_path: Path) -> None:
    model = built("encoder")
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    loaded = attnviz.load(str(tmp_path), device="cpu")
    assert isinstance(loaded.module, TransformerForSequenceClassification)
    trace = loaded.trace(inputs={"input_ids": IDS[:1]})
    assert all(check.passed for check in trace.fidelity())
    assert len(trace.predictions()) == 3


def test_two_stacks_are_refused() -> None:
    config = TransformerConfig(vocab_size=12, d_model=16, architecture="encoder-decoder")
    with pytest.raises(AttnVizError, match="does not classify"):
        TransformerForSequenceClassification(config)
