"""What a head that solves a task attends to, in examples written out."""

from __future__ import annotations

import pytest
from PIL import Image

from attnviz.train.tasks import TASKS
from attnviz.train.tasks.digits import has_ink
from attnviz.train.tasks.targets import TARGETS, Probed


def keys_of(name: str, rows: list[str], cols: list[str] | None = None) -> list[set[int]]:
    return [set(keys) for keys in TARGETS[name].keys(Probed(rows, cols or rows))]


def read(name: str, text: str) -> dict[int, str]:
    """For each query with keys, the characters at them."""
    keys = keys_of(name, list(text))
    return {i: "".join(text[j] for j in sorted(some)) for i, some in enumerate(keys) if some}


def test_every_task_has_a_score() -> None:
    assert set(TARGETS) == set(TASKS)


def test_induction_looks_behind_an_earlier_copy() -> None:
    assert read("induction", "abcabc") == {3: "b", 4: "c", 5: "a"}
    assert keys_of("induction", list("abab"))[3] == {2}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("copy", "bdac>bda", {4: "b", 5: "d", 6: "a", 7: "c"}),
        ("reverse", "bdac>ca", {4: "c", 5: "a", 6: "d"}),
        ("sort", "bdab>ab", {4: "a", 5: "bb", 6: "bb"}),
        ("brackets", "(([])=)", {5: "("}),
        ("brackets", "([(=)]", {3: "(", 4: "[", 5: "("}),
        ("copy", "no separator", {}),
    ],
)
def test_each_query_needs_what_is_written_next(
    name: str, text: str, expected: dict[int, str]
) -> None:
    assert read(name, text) == expected


def test_the_query_equals_needs_both_numbers() -> None:
    assert keys_of("modular", ["12", "+", "7", "="]) == [set(), set(), set(), {0, 2}]


def test_a_dates_characters_come_from_its_parts() -> None:
    source = [*"5 March 2024", "</s>"]
    rows = ["<s>", *"2024-03-05"]
    keys = keys_of("dates", rows, source)
    # row i writes character i of 2024-03-05
    assert keys == [{8}, {9}, {10}, {11}, set(), *[{2, 3, 4, 5, 6}] * 2, set(), {0}, {0}, set()]
    assert len(keys) == len(rows)


def test_a_date_is_read_backwards_too() -> None:
    keys = keys_of("dates", ["<s>", *"25 May 1999"], [*"1999-05-25", "</s>"])
    assert keys == [
        *[{8, 9}] * 2, set(), *[{5, 6}] * 3, set(), {0}, {1}, {2}, {3}, set(),
    ]  # fmt: skip


def test_ink_is_where_a_patch_is_brighter_than_the_image() -> None:
    image = Image.new("L", (8, 8))
    for x in range(4):
        image.putpixel((x, 2), 200)
    ink = has_ink(image, 2)
    assert [i for i, has in enumerate(ink) if has] == [4, 5]  # the second row of patches
    keys = TARGETS["digits"].keys(Probed([""] * 17, [""] * 17, (False, *ink)))
    assert keys == (frozenset({5, 6}), *[frozenset()] * 16)
