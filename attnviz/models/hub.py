"""Fetching a model from the Hugging Face hub: safe files only, sizes known beforehand."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
from attnviz.models.checkpoint_folder import PICKLES

TIMEOUT = 8.0  # seconds to wait for the hub to answer before the local cache is tried
MAX_SIDE_FILE = 128 * 2**20  # tokenizers of the largest vocabularies take some 30 MB

# Two halves at most, each beginning with a letter or digit: no path, no scheme, no "..".
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,127}", re.ASCII)

_PART = re.compile(r"model-\d+-of-\d+\.safetensors")
_SIDE = re.compile(r"[\w.-]+\.(json|txt|jinja|model|tiktoken)", re.ASCII)


@dataclass(frozen=True)
class Fetched:
    """A model's files on this machine.

    Attributes:
        path: the folder they are in.
        commit: the hub's hash of this state of them.
        notes: sentences to show.
    """

    path: Path
    commit: str
    notes: tuple[str, ...]


def check_id(name: str, revision: str | None = None) -> None:
    """Raise `AttnVizError` unless `name` and `revision` have the form that the hub gives them."""
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


def fetch(name: str, revision: str | None = None) -> Fetched:
    """Download the model `name`, or take it from the hub's cache on this machine.

    Only safetensors and the small text files beside them are fetched, after their sizes were found
    to fit into memory and on the disk.

    Raises:
        AttnVizError: not the form of an id, no such model or no access to it, weights in pickle
            files alone, too big, or no network and nothing in the cache.
    """
    check_id(name, revision)
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except GatedRepoError:
        raise AttnVizError(
            f"The model '{name}' is only given to people who accepted its terms.",
            "Accept them on its page at huggingface.co, then log in here with 'hf auth login'.",
        ) from None
    except RevisionNotFoundError:
        raise AttnVizError(
            f"The model '{name}' has no revision '{revision}'.", "Leave it out for the newest."
        ) from None
    except RepositoryNotFoundError:
        raise AttnVizError(
            f"The Hugging Face hub has no model '{name}', or keeps it private.",
            "Check the spelling; a private model needs 'hf auth login' first.",
        ) from None
    except Exception as error:  # no network has many faces, and they change with the library
        return _cached(name, revision, error)
    return _download(name, revision, info)


def _cached(name: str, revision: str | None, cause: Exception) -> Fetched:
    """The copy that an earlier download left on this machine."""
    offline = isinstance(cause, OfflineModeIsEnabled)
    why = "offline mode is set (HF_HUB_OFFLINE)" if offline else "the hub could not be reached"
    config = try_to_load_from_cache(name, "config.json", revision=revision)
    if not isinstance(config, str):
        raise AttnVizError(
            f"The model '{name}' is not on this machine, and {why}.",
            "Check the network, or choose an installed model, a folder or a .gguf file.",
        )
    path = Path(config).parent
    return Fetched(path, path.name, (f"From the cache on this machine, because {why}.",))


def _download(name: str, revision: str | None, info: ModelInfo) -> Fetched:
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    weights = _weights(name, sizes)
    side = [n for n, size in sizes.items() if _SIDE.fullmatch(n) and size <= MAX_SIDE_FILE]
    if "config.json" not in side:
        raise AttnVizError(
            f"The model '{name}' has no config.json, so transformers cannot build it.",
            "Choose a model that is saved in the transformers format.",
        )
    n_bytes = sum(sizes[n] for n in weights)
    what = f"The model '{name}'"
    limits.require_memory(n_bytes, what)
    limits.require_disk(n_bytes, Path(constants.HF_HUB_CACHE), what)
    bars_were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        path = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=[*weights, *side], etag_timeout=TIMEOUT
            )
        )
    except Exception as error:
        raise AttnVizError(
            f"The download of '{name}' broke off ({type(error).__name__}).",
            "Try again: what has arrived is kept.",
        ) from error
    finally:
        if not bars_were_off:
            enable_progress_bars()
    return Fetched(path, path.name, ())


def _weights(name: str, sizes: dict[str, int]) -> list[str]:
    """The safetensors files of the model itself, without variants and other formats."""
    if "model.safetensors" in sizes:
        return ["model.safetensors"]
    parts = [file for file in sizes if _PART.fullmatch(file)]
    if parts and "model.safetensors.index.json" in sizes:
        return parts
    if any(file.endswith(PICKLES) for file in sizes):
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
