"""Examples: for each model of the catalog, inputs on which one of its heads does something clear.

Each claims one attention weight, in a sentence and as a number; a test computes it in the model.
Those of a checkpoint folder are in its entry.json, those of the packages here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

MAX_EXAMPLES = 8
MAX_LENGTH = 2_000  # characters of a text
MAX_INDEX = 10_000  # of a layer, head or token


@dataclass(frozen=True)
class Example:
    """An input, and the head and the cell of its map to look at.

    Attributes:
        title: what the menu shows.
        about: one sentence, with the weight in it.
        kind: of attention: "encoder", "decoder" or "cross".
        layer: counted among the layers of that kind, as in a link.
        query, key: positions in the head's map.
        weight: what the query gives to the key.
        text, target, pair: see ``Model.trace``.
        digit: the sample digit to read instead of a text.
        answer: the likeliest prediction after the text, or the image's class; empty if the sentence
            does not mention one.
    """

    title: str
    about: str
    kind: str
    layer: int
    head: int
    query: int
    key: int
    weight: float
    text: str = ""
    target: str = ""
    pair: str = ""
    digit: int | None = None
    answer: str = ""


def from_json(content: Any) -> tuple[Example, ...]:
    """The examples in a list from a file; what is not one is left out."""
    listed = content[:MAX_EXAMPLES] if isinstance(content, list) else ()
    return tuple(example for item in listed if (example := _from_item(item)) is not None)


def _from_item(item: Any) -> Example | None:
    if not isinstance(item, dict):
        return None
    try:
        example = Example(**item)
    except TypeError:  # a field too many, or one too few
        return None
    return example if all(_is_sound(f.name, getattr(example, f.name)) for f in _FIELDS) else None


def _is_sound(name: str, value: Any) -> bool:
    if name == "weight":
        return isinstance(value, (int, float)) and 0 <= value <= 1
    if name == "digit":
        return value is None or (type(value) is int and 0 <= value <= 9)
    if name == "kind":
        return value in ("encoder", "decoder", "cross")
    if name in ("layer", "head", "query", "key"):
        return type(value) is int and 0 <= value < MAX_INDEX
    return isinstance(value, str) and len(value) <= MAX_LENGTH


_FIELDS = fields(Example)

SMOLLM2: Final = (
    Example(
        title="Who gets the drink?",
        about="The last token attends to “Mary” (0.69) and the model continues with “Mary”: this "
        "head moves names.",
        kind="decoder", layer=23, head=0, query=13, key=1, weight=0.6890,
        text="When Mary and John went to the store, John gave a drink to",
        answer=" Mary",
    ),
    Example(
        title="What does “it” mean?",
        about="“it” attends to “cat” (0.83), the word that it stands for.",
        kind="decoder", layer=13, head=8, query=5, key=1, weight=0.8327,
        text="The cat sat down because it was tired",
    ),
    Example(
        title="A function like the one before",
        about="The last “a” attends to the “+” after the earlier “a” (0.92), and the model "
        "continues with “-”, as a function called sub needs.",
        kind="decoder", layer=20, head=0, query=23, key=10, weight=0.9156,
        text="def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a",
        answer=" -",
    ),
    Example(
        title="中文 (Chinese)",
        about="“累” (tired) attends to “它” (it) (0.88): who is tired. Rare characters are several "
        "tokens.",
        kind="decoder", layer=11, head=1, query=16, key=14, weight=0.8846,
        text="小猫坐下了，因为它累了",
    ),
)  # fmt: skip

MINILM: Final = (
    Example(
        title="From one sentence to the other",
        about="“music” attends to “guitar” (0.75) in the first sentence: nothing else there makes "
        "music.",
        kind="encoder", layer=5, head=5, query=12, key=6, weight=0.7507,
        text="A man is playing a guitar.", pair="Someone is making music.",
    ),
    Example(
        title="The trophy and the suitcase",
        about="“it” attends to “big” (0.78), the word that says which of the two it is.",
        kind="encoder", layer=2, head=1, query=10, key=13, weight=0.7809,
        text="The trophy does not fit in the suitcase because it is too big.",
    ),
    Example(
        title="The same word again",
        about="“bank” attends to the other “bank” (0.81), whatever the two mean.",
        kind="encoder", layer=2, head=9, query=13, key=2, weight=0.8092,
        text="The bank raised its interest rates.", pair="We sat on the bank of the river.",
    ),
)  # fmt: skip
