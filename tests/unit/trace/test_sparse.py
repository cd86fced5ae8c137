"""Sparse layouts are read from a module's outputs for one-hot values."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from torch import Tensor

import attnviz
from attnviz.trace import sparse
from tests.unit.trace.models import VOCABULARY, tokens
from tests.unit.trace.test_softmax_watcher import all_weights, drawn

N = 16
_CONFIG = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64,
}  # fmt: skip


def longformer(window: int = 4) -> hf.LongformerModel:
    config = hf.LongformerConfig(attention_window=window, pad_token_id=0, **_CONFIG)
    return drawn(hf.LongformerModel(config))


def banded(weights: Tensor, n: int) -> Tensor:
    """(B, H, n, n), of Longformer's own (B, H, n, window + 1).

    Its column j is the key row + j - window / 2.
    """
    half = weights.shape[-1] // 2
    whole = weights.new_zeros(*weights.shape[:2], n, n)
    for row in range(n):
        for j in range(2 * half + 1):
            if 0 <= row + j - half < n:
                whole[:, :, row, row + j - half] = weights[:, :, row, j]
    return whole


def test_a_sliding_window_is_read() -> None:
    module, given = longformer(), {"input_ids": tokens(2, N)}
    trace = attnviz.wrap(module).trace(inputs=given)
    with torch.no_grad():
        own = module(**given, output_attentions=True).attentions
    for i, weights in enumerate(own):
        assert trace.layers[i].source == "dense" and "sparse" in trace.layers[i].reason
        torch.testing.assert_close(all_weights(trace, i), banded(weights, N), rtol=0, atol=1e-6)
    assert all(f.passed and f.rows == f.total_rows == 2 * N for f in trace.fidelity())
    assert trace.attention(0, 1).v.shape == (N, 8)


def test_global_tokens_have_values_of_their_own() -> None:
    """Longformer's global tokens: their rows are full softmaxes of their own."""
    seen = torch.zeros(2, N, dtype=torch.long)
    seen[:, 3] = 1
    module = longformer()
    given = {"input_ids": tokens(2, N), "global_attention_mask": seen}
    trace = attnviz.wrap(module).trace(inputs=given)
    with torch.no_grad():
        out = module(**given, output_attentions=True)
    for i in range(2):
        weights = all_weights(trace, i)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, N))
        own = out.global_attentions[i][..., 0]  # (B, H, n), of the one global token
        torch.testing.assert_close(weights[:, :, 3], own, rtol=0, atol=1e-6)
        # the first of the other rows' columns is the global token's
        first = out.attentions[i][:, :, 10, 0]
        torch.testing.assert_close(weights[:, :, 10, 3], first, rtol=0, atol=1e-6)
    assert all(f.passed for f in trace.fidelity())


def test_a_random_block_runs_again_with_the_same_numbers() -> None:
    """Reformer's hashes are random; they and all later numbers are the same without recording."""
    config = hf.ReformerConfig(
        attn_layers=["lsh", "local"], axial_pos_shape=(4, 4), axial_pos_embds_dim=(16, 16),
        hidden_size=32, num_attention_heads=4, attention_head_size=8, feed_forward_size=64,
        vocab_size=VOCABULARY, lsh_attn_chunk_length=4, local_attn_chunk_length=4, num_buckets=2,
    )  # fmt: skip
    module, given = drawn(hf.ReformerModel(config)), {"input_ids": tokens(1, N)}
    seen: list[Tensor] = []
    module.register_forward_hook(lambda m, args, out: seen.append(out[0]))
    torch.manual_seed(7)
    with torch.no_grad():
        module(**given)
    after = torch.rand(3)
    torch.manual_seed(7)
    trace = attnviz.wrap(module).trace(inputs=given)
    assert torch.equal(torch.rand(3), after)
    assert torch.equal(*seen)
    assert [x.source for x in trace.layers] == ["dense", "dense"]
    assert all(f.passed for f in trace.fidelity())


def test_a_long_text_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "MAX_KEYS", 12)
    trace = attnviz.wrap(longformer()).trace(inputs={"input_ids": tokens(1, N)})
    assert {x.source for x in trace.layers} == {"refused"}
    assert all("up to 12 keys" in x.reason for x in trace.layers)
    assert not any(f.passed for f in trace.fidelity())


def test_weights_that_no_softmax_makes_are_refused() -> None:
    """YOSO's weights are hash collisions, its rows are normalized afterwards."""
    config = hf.YosoConfig(use_expectation=True, max_position_embeddings=64, **_CONFIG)
    trace = attnviz.wrap(drawn(hf.YosoModel(config))).trace(inputs={"input_ids": tokens(2, N)})
    assert {x.source for x in trace.layers} == {"refused"}


def test_recording_a_sparse_model_changes_no_bit() -> None:
    config = hf.BigBirdConfig(block_size=2, num_random_blocks=1, **_CONFIG)
    module, given = drawn(hf.BigBirdModel(config)), {"input_ids": tokens(2, N)}
    with torch.no_grad():
        plain = module(**given).last_hidden_state
    seen: list[Tensor] = []
    module.register_forward_hook(lambda m, args, out: seen.append(out.last_hidden_state))
    trace = attnviz.wrap(module).trace(inputs=given)
    assert torch.equal(seen[0], plain)
    # a key that is in two of a row's blocks has both weights; BigBird itself tells the last alone
    for i in range(2):
        torch.testing.assert_close(all_weights(trace, i).sum(-1), torch.ones(2, 4, N))
