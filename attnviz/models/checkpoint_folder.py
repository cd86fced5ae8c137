"""A checkpoint folder, checked before any of it is loaded.

`inspect` finds the weight files and reads their headers (`safetensors_header`), checks the numbers
of config.json (`config_check`) and refuses pickles and code. Tokenizers are checked separately
(`tokenizer_check`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING

from attnviz.errors import AttnVizError
from attnviz.models import bounded_json, config_check
from attnviz.models.model_files import file_stamp
from attnviz.models.safetensors_header import StoredTensor, header_bytes, read_header

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".joblib")
MAX_JSON = 16 * 2**20  # the index of the largest sharded models is a few MB
MAX_VOCABULARY = 128 * 2**20  # the tokenizers of the largest vocabularies take some 30 MB
# Files that transformers reads whole, of any size: vocabularies, then settings.
VOCABULARIES = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("vocab.json", "vocab.txt", "merges.txt", "tekken.json", "chat_template.jinja"),
)
SETTINGS = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("generation_config.json", "chat_template.json"),
)
MAX_SHARDS = 2_000

# Entries of a config that make transformers load other code or files than those checked here.
REDIRECTIONS = frozenset(
    {
        "auto_map",
        "custom_pipelines",
        "transformers_weights",
        "fusion_config",
        "kernel_config",
        "distributed_config",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "attn_implementation_internal",
        "experts_implementation",
        "_experts_implementation",
        "_experts_implementation_internal",
    }
)


@dataclass(frozen=True)
class CheckpointFolder:
    """A checked checkpoint folder.

    Attributes:
        path: the folder.
        config: config.json without the entries that point to code or other files.
        weights: the safetensors files.
        n_tensors: the number of tensors in them that are not empty.
        n_elements: the number of elements of all tensors together.
        dtype: the most frequent floating-point format, by elements.
        revision: identifies the content in cache keys; it changes when one of the files does.
        notes: sentences to show.
    """

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    n_tensors: int
    n_elements: int
    dtype: torch.dtype
    revision: str
    notes: tuple[str, ...]


def inspect(path: Path) -> CheckpointFolder:
    """Check the folder ``path``: its config, its weight files' headers, its declared sizes.

    Raises:
        AttnVizError: no model there, weights in pickle files, a damaged file, an unknown or
            impossible configuration.
    """
    if not (path / "config.json").is_file():
        raise _no_model(path)
    _check_file_sizes(path)
    raw = read_json(path / "config.json")
    weights = _weight_files(path)
    tensors = [tensor for file in weights for tensor in read_header(file)]
    n_elements = sum(tensor.n_elements for tensor in tensors)
    notes = _check_type(raw)
    config = _without_redirections(raw)
    n_tensors = sum(tensor.n_elements > 0 for tensor in tensors)
    config_check.check(config, n_tensors, n_elements)
    return CheckpointFolder(
        path=path,
        config=config,
        weights=weights,
        n_tensors=n_tensors,
        n_elements=n_elements,
        dtype=_main_dtype(tensors),
        revision=_revision(path, weights),
        notes=notes,
    )


def _check_file_sizes(path: Path) -> None:
    """Refuse vocabularies and settings that are too large; their readers have no bound."""
    for names, max_bytes in ((VOCABULARIES, MAX_VOCABULARY), (SETTINGS, MAX_JSON)):
        for file in (path / name for name in names):
            if file.is_file() and file.stat().st_size > max_bytes:
                raise _too_big(file)


def _too_big(path: Path) -> AttnVizError:
    return AttnVizError(f"{path.name} is too big to be what its name says.", "Download it again.")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in the file ``path``.

    Raises:
        AttnVizError: no JSON object, or one beyond the bounds of `bounded_json`.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_JSON + 1)
    if len(raw) > MAX_JSON:
        raise _too_big(path)
    try:
        value = bounded_json.parse(raw)
    except ValueError as error:
        raise AttnVizError(
            f"{path.name} is not a JSON object that is read: {error}.", "Download it again."
        ) from None
    if not isinstance(value, dict):
        raise AttnVizError(f"{path.name} is not a JSON object.", "Download it again.")
    return value


def _no_model(path: Path) -> AttnVizError:
    """Why a folder without config.json cannot be loaded, and what to give instead."""
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    ggufs = [name for name in names if name.endswith(".gguf")]
    if ggufs:
        return AttnVizError(
            f"The folder {path} has no config.json, but it has {ggufs[0]}.",
            f"Give the path of that file: {path / ggufs[0]}",
        )
    if "adapter_config.json" in names:
        return AttnVizError(
            f"The folder {path} holds an adapter, not a whole model.",
            "Merge the adapter into its base model and save that.",
        )
    if pickles := [name for name in names if name.endswith(PICKLE_SUFFIXES)]:
        return _only_pickles(path, pickles[0])
    return AttnVizError(
        f"The folder {path} is not a model: it has no config.json.",
        "Choose a folder made by save_pretrained, or a .gguf file.",
    )


def _only_pickles(path: Path, name: str) -> AttnVizError:
    return AttnVizError(
        f"The weights in {path} come only as a pickle file ({name}), which can run code "
        "when it is opened, so it was not opened.",
        "Use the model's safetensors, or convert it where you trust the file.",
    )


def _weight_files(path: Path) -> tuple[Path, ...]:
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if not index.is_file():
        names = sorted(file.name for file in path.iterdir())
        if pickles := [name for name in names if name.endswith(PICKLE_SUFFIXES)]:
            raise _only_pickles(path, pickles[0])
        raise AttnVizError(
            f"The folder {path} has a config.json but no weights.",
            "It needs a model.safetensors, or model.safetensors.index.json and its parts.",
        )
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise AttnVizError(f"{index.name} names no weight files.", "Download it again.")
    names = sorted({str(name) for name in weight_map.values()})
    if len(names) > MAX_SHARDS:
        raise AttnVizError(f"{index.name} names {len(names):,} weight files.")
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise AttnVizError(
                f"{index.name} names a weight file '{name[:80]}' outside its folder."
            )
        if not (path / name).is_file():
            raise AttnVizError(f"{name}, a part of the weights, is missing.", "Download it again.")
    return tuple(path / name for name in names)


def _check_type(config: dict[str, Any]) -> tuple[str, ...]:
    """Refuse a model type that transformers does not have; a note about code that is not run."""
    model_type = config.get("model_type")
    has_own_code = "auto_map" in config
    if not isinstance(model_type, str) or not model_type:
        raise AttnVizError(
            "config.json has no model_type, so the architecture is unknown.",
            "Use a checkpoint saved by transformers.",
        )
    if model_type not in CONFIG_MAPPING:
        if has_own_code:
            raise AttnVizError(
                f"The model type '{model_type[:60]}' needs code that comes with the checkpoint "
                "(auto_map), and attnviz never runs such code.",
                "Choose a model whose type is built into transformers.",
            )
        raise AttnVizError(
            f"transformers {transformers.__version__} knows no model type '{model_type[:60]}'.",
            "Choose a model whose type is built into transformers.",
        )
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise AttnVizError(
            f"The weights are quantized ({str(method or 'unknown method')[:30]}), which attnviz "
            "cannot load.",
            "Use the model's full-precision safetensors, or a GGUF.",
        )
    if has_own_code:
        return (
            "This model's config points to code of its own (auto_map); it was not run: the "
            f"built-in {model_type} class was used.",
        )
    return ()


def _without_redirections(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_redirections(v) for k, v in value.items() if k not in REDIRECTIONS}
    if isinstance(value, list):
        return [_without_redirections(item) for item in value]
    return value


def _main_dtype(tensors: list[StoredTensor]) -> torch.dtype:
    """The floating-point format of most elements."""
    elements: Counter[torch.dtype] = Counter()
    for tensor in tensors:
        if tensor.dtype.is_floating_point:
            elements[tensor.dtype] += tensor.n_elements
    if not elements:
        raise AttnVizError("The weight files contain no weights.", "Download them again.")
    return elements.most_common(1)[0][0]


def _revision(path: Path, weights: tuple[Path, ...]) -> str:
    """A hash of everything but the tensors' own bytes.

    It covers the content of the JSON files and of the weight files' headers, and the name, size and
    modification time of every file.
    """
    digest = hashlib.sha256()
    for name, size, modified, _ in file_stamp(path):
        digest.update(os.fsencode(f"{name}\0{size}\0{modified}\n"))
        if name.endswith(".json") and size <= MAX_JSON:
            digest.update((path / name).read_bytes())
    for file in weights:
        digest.update(header_bytes(file))
    return digest.hexdigest()
