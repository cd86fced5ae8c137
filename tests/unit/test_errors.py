from __future__ import annotations

from attnviz.errors import MAX_WORDS, AttnVizError


def test_a_sentence_that_quotes_a_whole_file_is_cut() -> None:
    error = AttnVizError("It begins here " + "x" * 789_000 + " and ends here.", "Do this.")
    assert len(str(error)) <= MAX_WORDS + len(" Do this.")
    assert str(error).startswith("It begins here xxx")
    assert str(error).endswith("xxx and ends here. Do this.")


def test_a_sentence_of_usual_length_stays_whole() -> None:
    error = AttnVizError("a" * MAX_WORDS, "b" * MAX_WORDS)
    assert str(error) == "a" * MAX_WORDS + " " + "b" * MAX_WORDS
