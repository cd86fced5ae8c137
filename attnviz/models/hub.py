"""Downloading a model from the Hugging Face hub: safe files only, sizes checked first."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from attnviz.errors import AttnVizError
from attnviz.models import limits
from attnviz.models.checkpoint_folder import PICKLE_SUFFIXES
from attnviz.models.model_files import ModelFiles

TIMEOUT = 8.0  # seconds to wait for the hub before the local cache is used
MAX_SIDE_FILE = 128 * 2**20  # tokenizers of the largest vocabularies take some 30 MB

# At most owner/name, each beginning with a letter or digit: no path, no scheme, no "..".
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,127}", re.ASCII)

_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_SIDE_FILE = re.compile(r"[\w.-]+\.(json|txt|jinja|model|tiktoken)", re.ASCII)


def check_id(name: str, revision: str | None = None) -> None:
    """Raise `AttnVizError` unless ``name`` and ``revision`` have the form of those on the hub."""
    if not _ID.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", ".")):
        raise AttnVizError(
            f"'{name[:80]}' is neither a model that is installed, nor a file or folder here, nor "
            "the form of a Hugging Face id.",
            "An id looks like 'openai-community/gpt2'.",
        )
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise AttnVizError(
            f"'{revision[:80]}' is not the form of a revision.", "Give a branch, a tag or a commit."
        )


def fetch(name: str, revision: str | None = None) -> ModelFiles:
    """Download the model ``name``, or take it from the hub's cache on this machine.

    Only safetensors and the small text files beside them are downloaded, and only if they fit into
    memory and on the disk.

    Raises:
        AttnVizError: not the form of an id, no such model or no access to it, weights only in
            pickle files, too big, or no network and nothing in the cache.
    """
    check_id(name, revision)
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except GatedRepoError:
        raise AttnVizError(
            f"The model '{name}' is gated: it requires accepting its terms.",
            "Accept them on its page at huggingface.co, then log in here with 'hf auth login'.",
        ) from None
    except RevisionNotFoundError:
        raise AttnVizError(
            f"The model '{name}' has no revision '{revision}'.", "Omit it for the latest."
        ) from None
    except RepositoryNotFoundError:
        raise AttnVizError(
            f"The Hugging Face hub has no model '{name}', or keeps it private.",
            "Check the spelling; a private model needs 'hf auth login' first.",
        ) from None
    except Exception as error:  # having no network raises many types, which change with the library
        return _cached(name, revision, error)
    return _download(name, revision, info)


def _cached(name: str, revision: str | None, cause: Exception) -> ModelFiles:
    """The copy of an earlier download."""
    offline = isinstance(cause, OfflineModeIsEnabled)
    why = "offline mode is set (HF_HUB_OFFLINE)" if offline else "the hub could not be reached"
    config = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(config, str):
        raise AttnVizError(
            f"The model '{name}' is not on this machine, and {why}.",
            "Check the network, or choose an installed model, a folder or a .gguf file.",
        )
    path = Path(config).parent
    note = f"From the cache on this machine, because {why}."
    return ModelFiles(path, name, commit=path.name, notes=(note,))


def _download(name: str, revision: str | None, info: ModelInfo) -> ModelFiles:
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    weights = _weights(name, sizes)
    side_files = [
        n for n, size in sizes.items() if _SIDE_FILE.fullmatch(n) and size <= MAX_SIDE_FILE
    ]
    if "config.json" not in side_files:
        raise AttnVizError(
            f"The model '{name}' has no config.json, so transformers cannot build it.",
            "Choose a model that is saved in the transformers format.",
        )
    n_bytes = sum(sizes[n] for n in weights)
    subject = f"The model '{name}'"
    limits.require_memory(n_bytes, subject)
    limits.require_disk(n_bytes, Path(constants.HF_HUB_CACHE), subject)
    bars_were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        path = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=[*weights, *side_files],
                etag_timeout=TIMEOUT,
            )
        )
    except Exception as error:
        raise AttnVizError(
            f"The download of '{name}' was interrupted ({type(error).__name__}).",
            "Try again; it resumes where it stopped.",
        ) from error
    finally:
        if not bars_were_off:
            enable_progress_bars()
    return ModelFiles(path, name, commit=path.name)


def _weights(name: str, sizes: dict[str, int]) -> list[str]:
    """The safetensors files of the model, without variants such as those of other formats."""
    if "model.safetensors" in sizes:
        return ["model.safetensors"]
    shards = [file for file in sizes if _SHARD.fullmatch(file)]
    if shards and "model.safetensors.index.json" in sizes:
        return shards
    if any(file.endswith(PICKLE_SUFFIXES) for file in sizes):
        raise AttnVizError(
            f"The model '{name}' has only pickle weights, which can run code when they are opened.",
            "Choose a model with safetensors.",
        )
    if any(file.endswith(".gguf") for file in sizes):
        raise AttnVizError(
            f"The model '{name}' has only GGUF files.",
            "Download the one you want and give its path.",
        )
    raise AttnVizError(
        f"The model '{name}' has no weights in safetensors.", "Choose a model with safetensors."
    )
