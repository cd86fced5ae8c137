"""Every model type that can be built is exact, dense or refused with a reason, and never wrong.

One test a type, compared with the committed table: a type that is new, gone or different fails
until `python -m benchmarks.coverage` has been run and its result reviewed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.tiny_models import TASKS, TYPES, TinyType, build
from tests.tiny_models.coverage import examine, shares
from tests.tiny_models.exceptions import OTHER_MIXING, UNBUILDABLE
from tests.tiny_models.truth import eager_weights

TABLE = Path(__file__).parents[3] / "docs" / "coverage.md"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """One thread, which is faster at this size; and no advice in the log."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    torch.set_num_threads(threads)


@cache
def committed() -> dict[str, tuple[str, ...]]:
    """The table's rows by "type/class", without errors and notes."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:6]) for line in lines if "|" in line]
    return {f"{row[0]}/{row[1]}": row for row in rows[2:]}


@pytest.mark.parametrize("tiny", TYPES, ids=lambda tiny: tiny.name)
def test_each_model_type_is_traced_as_the_table_says(tiny: TinyType) -> None:
    row = examine(tiny)
    assert row.problems == ()
    assert row.cells == committed().get(tiny.name), "run python -m benchmarks.coverage"


def test_the_table_lists_these_types_and_no_others() -> None:
    assert list(committed()) == [tiny.name for tiny in TYPES]
    listed = {tiny.model_type for tiny in TYPES} | set(UNBUILDABLE)
    assert listed >= {model_type for mapping in TASKS.values() for model_type in mapping}


def test_nearly_all_types_are_shown_and_most_of_them_exactly() -> None:
    whole = shares((row[0], row[2]) for row in committed().values())
    assert whole.types > 300
    assert whole.shown >= 0.97
    assert whole.exact >= 0.75


@pytest.mark.parametrize("model_type", UNBUILDABLE)
def test_types_listed_as_unbuildable_cannot_be_built(model_type: str) -> None:
    task, name = next((t, m[model_type]) for t, m in TASKS.items() if model_type in m)
    with pytest.raises((ImportError, ValueError)):
        build(TinyType(model_type, task, name if isinstance(name, str) else name[0]))


def test_types_without_attention_return_no_weights() -> None:
    for tiny in TYPES:
        if tiny.model_type in OTHER_MIXING:
            assert eager_weights(tiny) == {}, tiny.name


@pytest.mark.parametrize("model_type", ["llama", "bert", "gpt_oss", "t5", "vit", "deepseek_v3"])
def test_tiny_models_attend_unevenly(model_type: str) -> None:
    """Uniform weights would agree with any mistake in Q or K."""
    tiny = next(tiny for tiny in TYPES if tiny.model_type == model_type)
    for weights in (w for tensors in eager_weights(tiny).values() for w in tensors):
        n_k = weights.shape[-1]
        assert weights[:, :, -1].amax(-1).mean() > 2 / n_k
