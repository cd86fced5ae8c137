"""Texts that are hard to tokenize, and what the spans of their tokens cover."""

from __future__ import annotations

from attnviz.models.tokens import Token

FACEPALM = "🤦🏽‍♀️"
FAMILY = "👨‍👩‍👧"
TEXTS = [
    "The quick brown fox jumps, unbelievably, over the lazy dog.",
    "日本語の文章です。中文也行。한국어도.",
    f"Emoji {FACEPALM} and {FAMILY}{FAMILY} 🇺🇦🎉 done",
    "שלום עולם مرحبا بالعالم",
    "cafe\u0301 nai\u0308ve Z\u0351\u036b\u0343\u036aalgo \u0301 lone",
    "नमस्ते दुनिया สวัสดี",
    "line one\r\n\tline  two\n\n<img src=x onerror=alert(1)> \u00a0 end ",
]


def covered(tokens: tuple[Token, ...], text: str) -> str:
    """The characters of `text` that lie within some token's span."""
    inside = set()
    for token in tokens:
        if token.start is not None and token.end is not None:
            inside.update(range(token.start, token.end))
    return "".join(text[i] for i in sorted(inside))
