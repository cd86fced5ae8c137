"""Inputs kept for links: by their content, bounded, the longest unopened dropped first."""

from __future__ import annotations

import time

import pytest

from attnviz.ui.kept_inputs import KeptInputs


def test_a_content_has_one_name() -> None:
    kept = KeptInputs()
    name = kept.add(b"a long text")
    assert kept.add(b"a long text") == name
    assert kept.add(b"another") != name
    assert kept.open(name) == b"a long text"
    assert kept.open("0" * 32) is None
    assert kept.open("../../etc/passwd") is None


def test_the_longest_unopened_is_dropped_first() -> None:
    kept = KeptInputs(max_count=2)
    first, second = kept.add(b"1"), kept.add(b"2")
    assert kept.open(first)
    kept.add(b"3")
    assert kept.open(second) is None
    assert kept.open(first) == b"1"


def test_all_together_have_so_many_bytes() -> None:
    kept = KeptInputs(max_bytes=100)
    names = [kept.add(bytes([n]) * 40) for n in range(4)]
    assert [kept.open(name) is not None for name in names] == [False, False, True, True]
    assert kept.open(kept.add(b"x" * 101)) is None


def test_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, now = KeptInputs(days=7), time.monotonic()
    one, other = kept.add(b"one"), kept.add(b"other")
    monkeypatch.setattr(time, "monotonic", lambda: now + 6 * 86_400)
    assert kept.open(one)
    monkeypatch.setattr(time, "monotonic", lambda: now + 8 * 86_400)
    assert kept.open(one)
    assert kept.open(other) is None
