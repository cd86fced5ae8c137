"""Masks against their definitions, element by element."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from attnviz.nn import AttentionConfig
from attnviz.nn.attention_masks import additive_mask, padding_mask, token_positions, visible_keys
from tests.unit.nn.layers import sees


@given(
    mask=st.sampled_from(("none", "causal", "sliding", "prefix")),
    window=st.integers(1, 7),
    prefix=st.integers(0, 7),
    n_k=st.integers(1, 6),
    data=st.data(),
)
def test_a_mask_is_what_its_definition_says(
    mask: str, window: int, prefix: int, n_k: int, data: st.DataObject
) -> None:
    config = AttentionConfig(mask=mask, window=window, prefix=prefix)
    n_q = data.draw(st.integers(1, n_k))
    left = data.draw(st.lists(st.integers(0, n_k - 1), min_size=1, max_size=3))
    padding = torch.tensor([[int(j >= first) for j in range(n_k)] for first in left])
    seen = visible_keys(config, n_q, n_k, padding)
    assert seen.shape == (len(left), 1, n_q, n_k)
    for b, first in enumerate(left):
        for row, i in enumerate(range(n_k - n_q, n_k)):
            for j in range(n_k):
                expected = j >= first and sees(config, i, j, first)
                assert bool(seen[b, 0, row, j]) == expected, (b, i, j)


def test_without_padding_one_mask_serves_the_batch() -> None:
    assert visible_keys(AttentionConfig(mask="causal"), 3, 5).tolist() == [
        [
            [
                [True, True, True, False, False],
                [True, True, True, True, False],
                [True, True, True, True, True],
            ]
        ]
    ]


def test_positions_count_from_the_first_real_token() -> None:
    padding = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]])
    assert token_positions(4, 4, padding, torch.device("cpu")).tolist() == [
        [0, 0, 0, 1],
        [0, 1, 2, 3],
        [0, 1, 1, 1],
    ]
    assert token_positions(2, 4, padding, torch.device("cpu")).tolist() == [[0, 1], [2, 3], [1, 1]]


def test_a_context_hides_only_its_padding() -> None:
    mask = padding_mask(2, torch.tensor([[1, 1, 0]]))
    added = additive_mask(mask, torch.float32)
    assert added.tolist() == [[[[0, 0, -torch.inf], [0, 0, -torch.inf]]]]
