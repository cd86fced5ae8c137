"""Whatever goes wrong is one sentence on the page, and its details are in the log alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest
from tokenizers import Tokenizer, models, pre_tokenizers

from attnviz.ui.error_display import error_message


def failure(case: str, tmp_path: Path) -> BaseException:
    """What really happens, as it is raised."""
    try:
        if case == "missing file":
            (tmp_path / "nothing here").read_text()
        elif case == "memory":
            torch.empty(2**58)
        elif case == "recursion":

            def deeper() -> None:
                deeper()

            deeper()
        elif case == "overflow":
            int(float("inf"))
        elif case == "panic":
            tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
            tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(length=0)
            tokenizer.encode("some words")
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("missing file", "nothing here (No such file or directory)."),
        ("memory", "There is not enough memory for this."),
        ("recursion", "Something went wrong inside attnviz."),
        ("overflow", "Something went wrong inside attnviz."),
        ("panic", "Something went wrong inside attnviz."),
    ],
)
def test_every_error_is_a_sentence(
    case: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = failure(case, tmp_path)
    with caplog.at_level(logging.ERROR, "attnviz"):
        words = error_message(error)
    assert said in words
    assert "\n" not in words
    assert len(words) < 400
    foreseen = "inside attnviz" not in words
    assert foreseen != bool(caplog.records)


def test_a_panic_is_shown_where_it_happened() -> None:
    def page() -> None:
        import streamlit as st
        from tokenizers import Tokenizer, models, pre_tokenizers

        from attnviz.ui.error_display import attempt

        tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
        tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(length=0)
        attempt(lambda: tokenizer.encode("some words"))
        st.caption("the rest of the page")

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert len(app.error) == 1
    assert app.caption[0].value == "the rest of the page"
