"""The numbers in a config, checked against the weights before anything is built from them.

A config class makes lists as long as its numbers say, and a model class makes as many modules. So
every integer has a bound, chosen by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attnviz.errors import AttnVizError

MAX_LAYERS = 2_000  # the deepest published models have a few hundred
MIN_LAYERS = 128  # layers may share their weights, as ALBERT's do
TENSORS_PER_LAYER = 4  # at least two norms, the attention and the feed-forward
MAX_LIST = 8_192  # one entry per layer, per suppressed token or per image size
MAX_EXPERTS = 16_384
MAX_LABELS = 2**17  # the largest label set in use is ImageNet's, of 22,000 classes
MAX_POSITIONS = 2**24  # a rotary model stores nothing per position; Llama 4 declares ten million
MAX_SIZE = 2**27  # any other integer
MAX_EDGE = 8_192  # pixels of an image's side
PIXELS = ("longest_edge", "min_pixels", "max_pixels")
EDGES = ("height", "width", "shortest_edge", "size", *PIXELS)
MAX_PIXELS = 2**26  # Qwen2-VL takes up to 13 million
MIN_SIZE = 2**20  # small checkpoints may have larger numbers than weights, e.g. a vocabulary

# Names of counts: where they have a list, its sum is what is built.
_SUMMED = re.compile(r"^(num|n)_|depths?$|repeats|attention_types")
_LAYERS = re.compile(
    r"(?<!per_)(layers?|depths?|blocks?|flows?|loops?|repeats|stages?|modules?)$|^(num|n)_(layers?|blocks?)"
    r"|attention_types|(layers?|blocks?)_(count|num)"
)
_EXPERTS = re.compile(r"expert")
_LABELS = re.compile(r"labels|classes")
_POSITIONS = re.compile(r"positions?|pos_emb|_ctx$|seq_len|length|window|chunk")
# Names of numbers that are not sizes.
_UNBOUNDED = re.compile(r"theta|_base$|seed|model_max_length|version|_(id|ids|index|rate)$")


def check(config: dict[str, Any], n_tensors: int, n_elements: int) -> None:
    """Refuse a config whose numbers are too large for the weights.

    Args:
        config: the content of config.json.
        n_tensors: how many tensors the weight files hold.
        n_elements: the number of elements of all of them together.

    Raises:
        AttnVizError: names the first number that is too large.
    """
    max_layers = min(MAX_LAYERS, max(MIN_LAYERS, n_tensors // TENSORS_PER_LAYER))
    for key, value in _numbers(config):
        if _UNBOUNDED.search(key):
            continue
        if _EXPERTS.search(key):
            bound = MAX_EXPERTS
        elif _LAYERS.search(key):
            bound = max_layers
        elif _LABELS.search(key):
            bound = MAX_LABELS
        elif _POSITIONS.search(key):
            bound = MAX_POSITIONS
        else:
            bound = min(MAX_SIZE, max(MIN_SIZE, n_elements))
        if value > bound:
            raise _impossible(f"says {key[:80]} is {value:,}")


def check_image_processor(settings: dict[str, Any]) -> None:
    """Refuse an image processor's settings that would enlarge an image beyond any memory.

    Raises:
        AttnVizError: names the number that is too large.
    """
    for sizes in (settings, settings.get("size"), settings.get("crop_size")):
        named = sizes if isinstance(sizes, dict) else {"size": sizes}
        for name in EDGES:
            value = named.get(name)
            # where there is a longest edge, it and its shortest edge may be areas in pixels
            is_area = name in PIXELS or "longest_edge" in named
            bound = MAX_PIXELS if is_area else MAX_EDGE
            if isinstance(value, int) and value > bound:
                raise _impossible(f"says {name} is {value:,}", "The image processor")


def _impossible(what: str, subject: str = "config.json") -> AttnVizError:
    return AttnVizError(
        f"{subject} {what}, which does not match these weights.",
        "Download it again, or choose another model.",
    )


def _numbers(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Each name in a nested config with its integer; for a list the largest, or the sum of counts.

    Floats are left out: neither a list's length nor a loop's count can be one.
    """
    for key, value in config.items():
        if key in ("id2label", "label2id"):  # their keys are free text
            yield "labels", len(value) if isinstance(value, dict) else 0
        elif isinstance(value, dict):
            yield from _numbers(value)
        else:
            items = list(_flattened(value))
            if len(items) > MAX_LIST:
                raise _impossible(f"has {len(items):,} entries under {key[:80]}")
            for item in items:
                if isinstance(item, dict):
                    yield from _numbers(item)
            numbers = [abs(n) for n in items if isinstance(n, int) and not isinstance(n, bool)]
            yield key, sum(numbers) if _SUMMED.search(key) else max(numbers, default=0)


def _flattened(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flattened(item)
    else:
        yield value
