"""Which texts a model can read."""

from __future__ import annotations

import attnviz
from attnviz.models.readable import can_read


def test_a_vocabulary_decides() -> None:
    letters = attnviz.load("tiny-induction", device="cpu").loaded
    words = attnviz.load("minilm-l6", device="cpu").loaded
    pieces = attnviz.load("smollm2-135m", device="cpu").loaded
    for text, readers in (
        ("kdxmbqkdxmbqk", (letters, words, pieces)),
        ("A tired cat, and a very tired dog beside it 🙂", (words, pieces)),
        ("ꦲꦤꦕꦫꦏ ꦢꦠꦱꦮꦭ", (pieces,)),  # Javanese: bytes, of a tokenizer that has them
        ("", ()),
    ):
        for source in (letters, words, pieces):
            assert can_read(source, text) == (source in readers), (source.name, text)


def test_a_text_over_the_models_length_is_not_readable() -> None:
    words = attnviz.load("minilm-l6", device="cpu").loaded
    assert can_read(words, "word " * 200)
    assert not can_read(words, "word " * 2_000)
