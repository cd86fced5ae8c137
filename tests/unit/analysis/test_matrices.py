"""What is written to files is what the model computed."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import torch

import attnviz
from attnviz.analysis import matrices
from attnviz.analysis.edges import strong_edges
from attnviz.analysis.heads import head_metrics
from attnviz.errors import AttnVizError
from attnviz.trace import Trace

TEXT = "The cat, 猫\nsat"


@pytest.fixture(scope="module")
def trace() -> Trace:
    return attnviz.load("smollm2-135m", device="cpu").trace(TEXT)


def read(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


def test_weights_and_scores_survive_both_files(trace: Trace) -> None:
    a = trace.attention(5, 3)
    for quantity, exact in (("weights", a.weights()), ("scores", a.scores())):
        m = matrices.attention(trace, 5, 3, quantity)  # type: ignore[arg-type]
        header, rows = read(m.csv())
        what = quantity.removesuffix("s")
        assert header[:3] == [f"{what}: query \\ key", "0 The", "1  cat"]
        # nine digits are all of a float32
        written = np.array([row[1:] for row in rows], dtype=np.float32)
        np.testing.assert_array_equal(written, exact.numpy())
        file = np.load(io.BytesIO(m.npz()), allow_pickle=False)
        np.testing.assert_array_equal(file["values"], exact.numpy())
        assert file["cols"].tolist() == list(m.cols) == header[1:]
        assert m.masked is not None
        np.testing.assert_array_equal(m.masked, np.isneginf(a.scores().numpy()))


def test_a_part_of_a_map_is_that_part(trace: Trace) -> None:
    m = matrices.attention(trace, 5, 3, "weights", slice(2, 6), slice(1, 4))
    exact = trace.attention(5, 3).weights()[2:6, 1:4]
    np.testing.assert_array_equal(m.values, exact.numpy())
    assert [name.split()[0] for name in m.rows] == ["2", "3", "4", "5"]
    assert m.cols[0] == "1  cat"


def test_a_large_map_is_pooled_to_maxima_of_squares(trace: Trace) -> None:
    whole = trace.attention(5, 3).weights()
    m = matrices.attention(trace, 5, 3, "weights", slice(1, None), slice(3, None), max_cells=12)
    assert m.side == 2
    assert m.rows[0] == "0-1"  # a square begins at a multiple of its side
    assert m.cols[0] == "2-3"
    by_hand = [
        [float(whole[i : i + 2, j : j + 2].max()) for j in range(2, len(whole), 2)]
        for i in range(0, len(whole), 2)
    ]
    np.testing.assert_array_equal(m.values, np.array(by_hand, dtype=np.float32))
    assert "largest weight of 2 x 2" in m.csv().splitlines()[0]


def test_vectors_are_the_heads_own(trace: Trace) -> None:
    a = trace.attention(7, 8)
    for which, exact in {"Q": a.q, "K": a.k, "V": a.v, "Output": a.output()}.items():
        m = matrices.vectors(trace, 7, 8, which)  # type: ignore[arg-type]
        np.testing.assert_array_equal(m.values, exact.numpy())
        assert m.row_title == ("key" if which in "KV" else "query")
        part = matrices.vectors(trace, 7, 8, which, slice(2, 4))  # type: ignore[arg-type]
        # another block of the same product rounds its sums in another order
        np.testing.assert_allclose(part.values, exact[2:4].numpy(), rtol=1e-5, atol=1e-6)
        assert part.rows == m.rows[2:4]


def test_one_query_against_every_key(trace: Trace) -> None:
    a = trace.attention(7, 8)
    m = matrices.one_query(trace, 7, 8, 4)
    product = a.q[4].double() * a.k.double()
    columns = {name: m.values[:, i] for i, name in enumerate(m.cols)}
    # float32 of a sum in float64
    np.testing.assert_allclose(columns["q.k"], product.sum(dim=1).numpy(), rtol=1e-6)
    # a row alone rounds its sums in another order than among others
    np.testing.assert_allclose(columns["weight"], a.weights()[4].numpy(), rtol=1e-5)
    np.testing.assert_allclose(columns["score"], a.scores()[4].numpy(), rtol=1e-5)
    np.testing.assert_allclose(m.values[:, 3:], product.numpy(), rtol=1e-6)
    with pytest.raises(AttnVizError, match="no query 99"):
        matrices.one_query(trace, 7, 8, 99)


def test_edges_are_all_weights_from_the_floor_up(trace: Trace) -> None:
    found = strong_edges(trace, 6, floor=0.05)
    by_hand = {
        (h, i, j): float(w)
        for h in range(9)
        for i, row in enumerate(trace.attention(6, h).weights())
        for j, w in enumerate(row)
        if w >= 0.05
    }
    _, rows = read(found.csv())
    place = [(int(h), int(i.split()[0]), int(j.split()[0])) for h, i, j, _ in rows]
    assert dict(zip(place, (np.float32(row[3]) for row in rows), strict=True)) == by_hand
    assert "1  cat" in {row[1] for row in rows}
    few = strong_edges(trace, 6, floor=0.05, max_edges=7)
    assert sorted(few.weight.tolist()) == sorted(by_hand.values())[-7:]
    file = np.load(io.BytesIO(found.npz()), allow_pickle=False)
    np.testing.assert_array_equal(file["weight"], found.weight)


def test_residual_norms_of_every_block(trace: Trace) -> None:
    m = matrices.residual_norms(trace, 0)
    assert m.cols[:2] == ("embed", "block 0")
    for block in (0, 3, len(m.cols) - 1):
        exact = torch.linalg.vector_norm(trace.residual(block).double(), dim=1)
        # a norm over 576 numbers in float32
        np.testing.assert_allclose(m.values[:, block], exact.numpy(), rtol=1e-5)


def test_all_head_metrics_as_a_matrix(trace: Trace) -> None:
    found = head_metrics(trace)
    header, rows = read(matrices.metrics(trace, found).csv())
    assert len(rows) == 270
    assert header[1] == "entropy"
    assert rows[9 * 4 + 2][0] == "decoder 4.2"
    assert float(rows[9 * 4 + 2][1]) == pytest.approx(found[9 * 4 + 2].entropy, rel=1e-6)


def test_a_window_of_vectors_is_around_one_of_them_and_within_the_text(trace: Trace) -> None:
    n, d_head = trace.attention(0, 0).q.shape
    whole = matrices.vectors_window(trace, 0, 0, "Q")
    assert whole == slice(0, n)
    for around, window in ((0, slice(0, 3)), (3, slice(2, 5)), (n - 1, slice(n - 3, n))):
        cells = 3 * d_head + 1
        assert matrices.vectors_window(trace, 0, 0, "Q", around=around, max_cells=cells) == window
        assert matrices.vectors(trace, 0, 0, "Q", window).values.size <= cells
