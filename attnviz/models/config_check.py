"""The numbers of a config, held against the weights before any of them is believed.

A config class writes lists as long as its numbers say, and a model class makes as many modules. So
every integer has a bound that follows from what stands under its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attnviz.errors import AttnVizError

MAX_LAYERS = 2_000  # the deepest published models have a few hundred
MIN_LAYERS = 128  # layers may share their weights, as ALBERT's do
LAYER_TENSORS = 4  # a layer has at least two norms, its attention and its feed-forward
MAX_LIST = 8_192  # one entry a layer, a token that is suppressed, a size of image
MAX_EXPERTS = 16_384
MAX_LABELS = 2**17  # ImageNet's 22,000 classes are the most in use
MAX_POSITIONS = 2**24  # a rotary model stores nothing per position; Llama 4 declares ten million
MAX_SIZE = 2**27
MAX_EDGE = 8_192  # pixels of a picture's side
PIXELS = ("longest_edge", "min_pixels", "max_pixels")
EDGES = ("height", "width", "shortest_edge", "size", *PIXELS)
MAX_PIXELS = 2**26  # Qwen2-VL takes up to 13 million
MIN_SIZE = 2**20  # small checkpoints may still name big numbers, such as a vocabulary

_SUMMED = re.compile(r"^(num|n)_|depths?$|repeats|attention_types")  # counts, where lists
_LAYERS = re.compile(
    r"(?<!per_)(layers?|depths?|blocks?|flows?|loops?|repeats|stages?|modules?)$|^(num|n)_(layers?|blocks?)"
    r"|attention_types|(layers?|blocks?)_(count|num)"
)
_EXPERTS = re.compile(r"expert")
_LABELS = re.compile(r"labels|classes")
_POSITIONS = re.compile(r"positions?|pos_emb|_ctx$|seq_len|length|window|chunk")
_FREE = re.compile(r"theta|_base$|seed|model_max_length|version|_(id|ids|index|rate)$")


def check(config: dict[str, Any], n_tensors: int, n_elements: int) -> None:
    """Refuse a config that the weights cannot bear out.

    Args:
        config: as it is in the file.
        n_tensors: how many the weight files hold.
        n_elements: numbers in all of them together.

    Raises:
        AttnVizError: the first number that is too big, by name.
    """
    most_layers = min(MAX_LAYERS, max(MIN_LAYERS, n_tensors // LAYER_TENSORS))
    for key, value in _numbers(config):
        if _FREE.search(key):
            continue
        if _EXPERTS.search(key):
            most = MAX_EXPERTS
        elif _LAYERS.search(key):
            most = most_layers
        elif _LABELS.search(key):
            most = MAX_LABELS
        elif _POSITIONS.search(key):
            most = MAX_POSITIONS
        else:
            most = min(MAX_SIZE, max(MIN_SIZE, n_elements))
        if value > most:
            raise _impossible(f"says {key[:80]} is {value:,}")


def check_image_processor(settings: dict[str, Any]) -> None:
    """Refuse an image processor's settings that would enlarge a picture past all memory.

    Raises:
        AttnVizError: the number that is too big, by name.
    """
    places = [settings, *(settings.get(name) for name in ("size", "crop_size"))]
    for place in places:
        named = place if isinstance(place, dict) else {"size": place}
        for name in EDGES:
            value = named.get(name)
            # a longest edge, and what stands beside it, may be meant as pixels in all
            area = name in PIXELS or "longest_edge" in named
            most = MAX_PIXELS if area else MAX_EDGE
            if isinstance(value, int) and value > most:
                raise _impossible(f"says {name} is {value:,}", "The image processor")


def _impossible(what: str, subject: str = "config.json") -> AttnVizError:
    return AttnVizError(
        f"{subject} {what}, which cannot be right for these weights.",
        "Download it again, or choose another model.",
    )


def _numbers(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Each name of a nested config with its integer; of a list the largest, or the sum of counts.

    A float makes nothing: Python repeats no list and counts no loop with one.
    """
    for key, value in config.items():
        if key in ("id2label", "label2id"):  # their names are a person's own
            yield "labels", len(value) if isinstance(value, dict) else 0
        elif isinstance(value, dict):
            yield from _numbers(value)
        else:
            items = list(_flat(value))
            if len(items) > MAX_LIST:
                raise _impossible(f"has {len(items):,} entries under {key[:80]}")
            for item in items:
                if isinstance(item, dict):
                    yield from _numbers(item)
            numbers = [abs(n) for n in items if isinstance(n, int) and not isinstance(n, bool)]
            yield key, sum(numbers) if _SUMMED.search(key) else max(numbers, default=0)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value
