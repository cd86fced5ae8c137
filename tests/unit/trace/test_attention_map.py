"""Tiles, overviews and long inputs, against the whole matrix in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnviz.trace import records
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import QKVRecord
from attnviz.trace.term_detection import mask_term, relative_or_dense
from attnviz.trace.terms import causal


def products(n_q: int, n_k: int, modifiers: ScoreModifiers, H: int = 4, H_kv: int = 2) -> QKVRecord:
    g = torch.Generator().manual_seed(n_q * 1000 + n_k)
    q = torch.randn(1, H, n_q, 8, generator=g)
    k, v = (torch.randn(1, H_kv, n_k, 8, generator=g) for _ in range(2))
    return QKVRecord(q, k, v, modifiers)


def truth(p: QKVRecord, head: int, visible: torch.Tensor | None) -> torch.Tensor:
    s = p.q[0, head].double() @ p.k[0, head // 2].double().T * p.modifiers.scaling
    if visible is not None:
        s = s.masked_fill(~visible, -torch.inf)
    return torch.softmax(s, -1)


@given(n_q=st.integers(1, 40), n_k=st.integers(1, 40), is_causal=st.booleans(), data=st.data())
def test_any_tile_equals_that_part_of_the_map(
    n_q: int, n_k: int, is_causal: bool, data: st.DataObject
) -> None:
    n_k = max(n_q, n_k)
    modifiers = ScoreModifiers(0.3, terms=(causal(n_q),) if is_causal else ())
    p = products(n_q, n_k, modifiers)
    r0, c0 = data.draw(st.integers(0, n_q)), data.draw(st.integers(0, n_k))
    r1, c1 = data.draw(st.integers(r0, n_q)), data.draw(st.integers(c0, n_k))
    visible = torch.ones(n_q, n_k, dtype=torch.bool).tril() if is_causal else None
    for head in (0, 3):
        tile = AttentionMap(p, head).weights(slice(r0, r1), slice(c0, c1))
        expected = truth(p, head, visible)[r0:r1, c0:c1]
        torch.testing.assert_close(tile.double(), expected, rtol=0, atol=1e-6)


@given(n=st.integers(1, 70), size=st.integers(1, 80), reduce=st.sampled_from(["max", "mean"]))
def test_an_overview_is_the_exact_max_or_mean_of_squares(n: int, size: int, reduce: str) -> None:
    p = products(n, n, ScoreModifiers(0.5, terms=(causal(n),)))
    whole = truth(p, 1, torch.ones(n, n, dtype=torch.bool).tril())
    side = -(-n // size)
    expected = torch.stack(
        [
            torch.stack(
                [
                    getattr(
                        whole[i : i + side, j : j + side], "amax" if reduce == "max" else "mean"
                    )()
                    for j in range(0, n, side)
                ]
            )
            for i in range(0, n, side)
        ]
    )
    seen = AttentionMap(p, 1).overview(size, reduce)  # type: ignore[arg-type]
    assert max(seen.shape) <= size
    torch.testing.assert_close(seen.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_blocks_of_rows_equal_one_block(reduce: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = products(100, 100, ScoreModifiers(0.5, terms=(causal(100),)))
    a = AttentionMap(p, 2)
    whole = a.weights(), a.overview(32, reduce), a.output()  # type: ignore[arg-type]
    monkeypatch.setattr(records, "CELLS", 700)  # seven rows at a time
    for now, before in zip((a.weights(), a.overview(32, reduce), a.output()), whole, strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(now, before, rtol=0, atol=1e-6)


def test_softcap_bias_and_mask_apply_in_order() -> None:
    n = 9
    bias = torch.randn(1, 4, n, n)
    mask = torch.rand(1, 1, n, n) > 0.4
    mask[..., 0] = True
    terms = (relative_or_dense(bias), mask_term(mask))
    modifiers = ScoreModifiers(2.0, softcap=1.5, terms=tuple(t for t in terms if t is not None))
    p = products(n, n, modifiers)
    s = p.q[0, 3] @ p.k[0, 1].T * 2.0
    s = 1.5 * torch.tanh(s / 1.5) + bias[0, 3]
    s = s.masked_fill(~mask[0, 0], -torch.inf)
    a = AttentionMap(p, 3)
    torch.testing.assert_close(a.scores(), s)
    torch.testing.assert_close(a.weights(), torch.softmax(s, -1))


def test_a_row_without_visible_keys_is_zero() -> None:
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    mask[:, :, 2] = False
    term = mask_term(mask)
    assert term is not None
    a = AttentionMap(products(6, 6, ScoreModifiers(1.0, terms=(term,))), 0)
    assert not a.weights()[2].any() and not a.weights().isnan().any()
    torch.testing.assert_close(a.weights().sum(-1)[3:], torch.ones(3))


def test_a_long_map_is_never_materialized() -> None:
    """20,000 tokens: the matrix would be 1.6 GB; allocations are counted."""
    n = 20_000
    p = products(n, n, ScoreModifiers(0.3, terms=(causal(n),)))
    a = AttentionMap(p, 0)
    with torch.profiler.profile(profile_memory=True) as seen:
        tile = a.weights(slice(n - 8, n), slice(n - 300, n))
        top = a.overview(64)
    largest = max(abs(e.self_cpu_memory_usage) / max(1, e.count) for e in seen.key_averages())
    assert largest < 40 * records.CELLS
    later = torch.ones(8, n, dtype=torch.bool).triu(n - 7)
    scores = p.q[0, 0, -8:].double() @ p.k[0, 0].double().T * 0.3
    last = torch.softmax(scores.masked_fill(later, -torch.inf), -1)
    torch.testing.assert_close(tile.double(), last[:, -300:], rtol=0, atol=1e-6)
    assert top.shape == (64, 64)
    assert float(top[-1].max()) >= float(last.max()) - 1e-6
