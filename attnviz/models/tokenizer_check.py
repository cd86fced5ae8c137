"""Whether a tokenizer is safe to use: tried on some texts in a process with limits.

A tokenizer.json is almost a program. Its rules can turn a letter into a gigabyte, and its tables
can claim to be longer than memory, at which its reader in Rust ends the process. So
``python -m attnviz.models.tokenizer_check FOLDER MEMORY SECONDS`` opens it in a process of its own,
checks its rules and tokenizes some texts.
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

from attnviz.errors import AttnVizError, first_line, is_panic
from attnviz.models import bounded_json, limited_process

FILE = "tokenizer.json"
SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
MAX_BYTES = 128 * 2**20  # files of the largest vocabularies take some 30 MB
MAX_SETTINGS = 16 * 2**20
MAX_ADDED = 2**18  # characters of the added tokens, of which a search tree is built
MEMORY = 2**30
MEMORY_PER_BYTE = 32  # of the file
SECONDS = 10
BYTES_PER_SECOND = 2**20  # far below any processor in use
MAX_GROWTH = 256  # how many times longer the rules may make a text
MAX_SPECIAL_TOKENS = 1_000  # that a tokenizer may add to a text

_WORDS = "The quick brown fox, it's 12,345.67€ at 8:15!\n\tdef f(x):\n    return {'a': [x]}  # ok\n"
_SCRIPTS = "naïve Ünï 日本語の文章 한국어 עברית العربية ไทย हिन्दी 👩‍👩‍👧🇺🇦 ½ﬁ\u0301\u200d\ufeff"


def check(folder: Path) -> None:
    """Try the tokenizer in ``folder`` in a process with limits.

    Raises:
        AttnVizError: it cannot be read, fails on ordinary texts, or exceeds the limits.
    """
    paths = (folder / name for name in (FILE, *SENTENCEPIECE_FILES))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:  # plain word lists, without rules
        return
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AttnVizError(
            f"{path.name} is too big to be what its name says.", "Download it again."
        )
    with tempfile.TemporaryDirectory() as temporary:
        limited_process.run(
            "attnviz.models.tokenizer_check",
            [str(folder.absolute())],
            subject=path.name,
            memory=MEMORY + MEMORY_PER_BYTE * size,
            seconds=SECONDS + size // BYTES_PER_SECOND,
            log=Path(temporary) / "log.txt",
        )


def try_tokenizer(folder: Path) -> None:
    """Open the tokenizer in ``folder`` and use it, in this process.

    Raises:
        Exception: its reader's own, or a ValueError that says what is wrong with it.
    """
    for name in SETTINGS:
        if (folder / name).is_file():
            _check_settings(folder / name)
    tokenizer = _open(folder)
    if tokenizer is None:
        return
    added = sum(len(token.content) for token in tokenizer.get_added_tokens_decoder().values())
    if added > MAX_ADDED:
        raise ValueError(f"its added tokens have {added:,} characters")
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
    rules = [json.loads(part.__getstate__()) for part in parts if part is not None]
    growth = math.prod(_growth_factors(rules))
    if growth > MAX_GROWTH:
        raise ValueError("its rules make a text far longer")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in _texts(rules):
        ids = tokenizer.encode(text).ids
        if len(ids) > MAX_SPECIAL_TOKENS + MAX_GROWTH * len(text):
            raise ValueError(f"it makes {len(ids):,} tokens of {len(text):,} characters")
        tokenizer.decode(ids, skip_special_tokens=False)


def _open(folder: Path) -> Any | None:
    """The tokenizer's Rust object; None if it is in Python alone."""
    if (folder / FILE).is_file():
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(folder / FILE))
    from transformers import AutoTokenizer  # converts sentencepiece files; takes seconds

    converted = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return getattr(converted, "backend_tokenizer", None)


def _check_settings(path: Path) -> None:
    """Refuse settings that are too large; they may add tokens as well."""
    with path.open("rb") as file:
        raw = file.read(MAX_SETTINGS + 1)
    if len(raw) > MAX_SETTINGS:
        raise ValueError(f"{path.name} is too big to be what its name says")
    settings = bounded_json.parse(raw)
    if isinstance(settings, dict):
        settings.pop("chat_template", None)
    n_characters = sum(len(text) for text in _strings(settings))
    if n_characters > MAX_ADDED:
        raise ValueError(f"{path.name} names tokens of {n_characters:,} characters")


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _growth_factors(rules: Any) -> Iterator[int]:
    """How many times longer each rule can make a text at most."""
    if isinstance(rules, list):
        for rule in rules:
            yield from _growth_factors(rule)
    elif isinstance(rules, dict):
        for name in ("content", "prepend", "append"):
            if isinstance(rules.get(name), str):
                yield max(1, len(rules[name].encode()) // 4)  # ▁ and <0x0A> count as 1
        for value in rules.values():
            yield from _growth_factors(value)


def _texts(rules: Any) -> Iterator[str]:
    """Ordinary texts, and texts on which the rules act: their own strings and letters."""
    yield "attention"
    yield _WORDS * 4
    yield _SCRIPTS * 4
    yield string.printable * 2
    for text in set(_strings(rules)):
        yield text[:1_000]
    for letter in sorted(set("".join(_strings(rules))) | set("a0 "))[:200]:
        yield letter * 256


def _main() -> int:
    import tokenizers  # noqa: F401  before the limits, which are for the file

    limited_process.limit_this_process(memory=int(sys.argv[2]), seconds=int(sys.argv[3]))
    try:
        try_tokenizer(Path(sys.argv[1]))
    except MemoryError:
        print("\nit needs more memory than its size allows", file=sys.stderr)
        return 1
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        print("\n" + first_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
