"""What a model got of a text's characters, by two installed models' own vocabularies."""

from __future__ import annotations

import attnviz
from attnviz.canvas import strip_payload, wire
from attnviz.models.token_decoding import decode_tokens


def test_unknown_tokens_and_other_spellings_are_what_the_vocabulary_has() -> None:
    model = attnviz.load("minilm-l6")
    trace = model.trace("Café 🦄 你 ok")
    _, cafe, unicorn, you, ok, _ = trace.tokens
    assert (cafe.text, cafe.shown, cafe.unknown) == ("Café", "cafe", False)
    for token, text in ((unicorn, "🦄"), (you, "你")):
        assert (token.id, token.text) == (model.tokenizer.unk_token_id, text)
        assert token.unknown and token.shown == "[UNK]"
    assert (ok.shown, ok.read) == ("ok", None)
    header, _ = wire.unpack(strip_payload(trace, 0, 0).encode())
    (section,) = header["sections"]
    assert section["names"] == ["[CLS]", "cafe", "[UNK]", "[UNK]", "ok", "[SEP]"]
    assert section["ids"] == [token.id for token in trace.tokens]
    assert [(one["at"], one["text"]) for one in section["odd"]] == [
        (1, "Café"),
        (2, "🦄"),
        (3, "你"),
    ]
    assert [one["unknown"] for one in section["odd"]] == [False, True, True]
    assert section["odd"][0]["bytes"] == b"cafe".hex(" ").upper()


def test_the_parts_of_a_character_are_numbered_and_their_bytes_make_it() -> None:
    tokens = attnviz.load("smollm2-135m").trace("天 🦄 fé the the").tokens
    assert [t.shown for t in tokens[:5]] == ["天 1/2", "天 2/2", " 🦄 1/3", "🦄 2/3", "🦄 3/3"]
    assert bytes.fromhex(tokens[0].raw + tokens[1].raw).decode() == "天"
    assert bytes.fromhex("".join(t.raw for t in tokens[2:5])).decode() == " 🦄"
    assert all(t.part is None and t.read is None and not t.unknown for t in tokens[5:])
    assert "".join(t.shown for t in tokens[5:]) == " fé the the"


def test_generated_parts_of_a_character_are_numbered_too() -> None:
    """They come without a source; the last character's bytes are not all there yet."""
    tokenizer = attnviz.load("smollm2-135m").tokenizer
    ids = tokenizer("坐天").input_ids
    assert len(ids) == 4
    tokens = decode_tokens(tokenizer, ids[:-1])
    assert [t.shown for t in tokens] == ["坐 1/2", "坐 2/2", f"<{tokens[2].raw}>"]
    assert bytes.fromhex(tokens[0].raw + tokens[1].raw).decode() == "坐"
    assert "天".encode().startswith(bytes.fromhex(tokens[2].raw))
    assert all(t.start is None and t.end is None for t in tokens)
