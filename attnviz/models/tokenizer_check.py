"""Whether a tokenizer can be trusted with a text: tried out in a process with limits.

A tokenizer.json is a program of sorts. Its rules can make a gigabyte out of a letter, its tables
can say that they are longer than memory, and what its reader in Rust then does ends the process.
``python -m attnviz.models.tokenizer_check FOLDER MEMORY SECONDS`` opens it, looks at its rules and
gives it some texts, with nothing else of ours in that process.
"""

from __future__ import annotations

import json
import math
import string
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnviz.errors import AttnVizError, is_panic
from attnviz.models import bounded_json, limited_process

FILE = "tokenizer.json"
PIECES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")  # without a FILE
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
MAX_BYTES = 128 * 2**20  # those of the largest vocabularies take some 30 MB
MAX_SETTINGS = 16 * 2**20
MAX_ADDED = 2**18  # characters of tokens beside the vocabulary: a search tree is built of them
MEMORY = 2**30
MEMORY_A_BYTE = 32  # of the file
SECONDS = 10
BYTES_A_SECOND = 2**20  # far slower than any processor in use
MAX_GROWTH = 256  # times that the rules may lengthen a text
MAX_TOKENS = 1_000  # that a tokenizer may put around a text

_WORDS = "The quick brown fox, it's 12,345.67€ at 8:15!\n\tdef f(x):\n    return {'a': [x]}  # ok\n"
_SCRIPTS = "naïve Ünï 日本語の文章 한국어 עברית العربية ไทย हिन्दी 👩‍👩‍👧🇺🇦 ½ﬁ\u0301\u200d\ufeff"


def check(folder: Path) -> None:
    """Try out the tokenizer in `folder`, where it has rules that need to be.

    Raises:
        AttnVizError: it cannot be read, fails on ordinary texts, or needs more than it may.
    """
    path = next((p for p in (folder / FILE, *(folder / n for n in PIECES)) if p.is_file()), None)
    if path is None:  # lists of words, which hold no rules
        return
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AttnVizError(
            f"{path.name} is too big to be what its name says.", "Download it again."
        )
    with tempfile.TemporaryDirectory() as place:
        limited_process.run(
            "attnviz.models.tokenizer_check",
            [str(folder.absolute())],
            subject=path.name,
            memory=MEMORY + MEMORY_A_BYTE * size,
            seconds=SECONDS + size // BYTES_A_SECOND,
            log=Path(place) / "log.txt",
        )


def try_out(folder: Path) -> None:
    """Open the tokenizer and use it, in this process.

    Raises:
        Exception: what its reader says, or what is wrong with it.
    """
    for name in SETTINGS:
        if (folder / name).is_file():
            _check_settings(folder / name)
    tokenizer = _opened(folder)
    if tokenizer is None:
        return
    added = sum(len(token.content) for token in tokenizer.get_added_tokens_decoder().values())
    if added > MAX_ADDED:
        raise ValueError(f"its added tokens have {added:,} characters")
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
    rules = [json.loads(part.__getstate__()) for part in parts if part is not None]
    growth = math.prod(_growths(rules))
    if growth > MAX_GROWTH:
        raise ValueError("its rules make a text far longer")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in _texts(rules):
        ids = tokenizer.encode(text).ids
        if len(ids) > MAX_TOKENS + MAX_GROWTH * len(text):
            raise ValueError(f"it makes {len(ids):,} tokens of {len(text):,} characters")
        tokenizer.decode(ids, skip_special_tokens=False)


def _opened(folder: Path) -> Any | None:
    """The tokenizer's half in Rust; None where it has none."""
    if (folder / FILE).is_file():
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(folder / FILE))
    from transformers import AutoTokenizer  # makes one of sentencepiece's tables; takes seconds

    made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return getattr(made, "backend_tokenizer", None)


def _check_settings(path: Path) -> None:
    """Tokens can be added there too."""
    with path.open("rb") as file:
        raw = file.read(MAX_SETTINGS + 1)
    if len(raw) > MAX_SETTINGS:
        raise ValueError(f"{path.name} is too big to be what its name says")
    settings = bounded_json.parse(raw)
    if isinstance(settings, dict):
        settings.pop("chat_template", None)
    words = sum(len(text) for text in _strings(settings))
    if words > MAX_ADDED:
        raise ValueError(f"{path.name} names tokens of {words:,} characters")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _growths(rules: Any) -> Iterator[int]:
    """How many times longer each rule can make a text, at the most."""
    if isinstance(rules, list):
        for rule in rules:
            yield from _growths(rule)
    elif isinstance(rules, dict):
        for name in ("content", "prepend", "append"):
            if isinstance(rules.get(name), str):
                yield max(1, len(rules[name].encode()) // 4)  # ▁ and ⟨0x0A⟩ are short
        for value in rules.values():
            yield from _growths(value)


def _texts(rules: Any) -> Iterator[str]:
    """Ordinary texts, and such as make the rules work: their own letters, repeated."""
    yield "attention"
    yield _WORDS * 4
    yield _SCRIPTS * 4
    yield string.printable * 2
    for text in set(_strings(rules)):
        yield text[:1_000]
    for letter in sorted(set("".join(_strings(rules))) | set("a0 "))[:200]:
        yield letter * 256


def _main() -> int:
    import tokenizers  # noqa: F401  before the limits, which are about the file

    limited_process.limit_this_process(memory=int(sys.argv[2]), seconds=int(sys.argv[3]))
    try:
        try_out(Path(sys.argv[1]))
    except MemoryError:
        print("\nit needs more memory than its size allows", file=sys.stderr)
        return 1
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        message = str(error).strip().splitlines()
        print("\n" + (message[0] if message else type(error).__name__), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
