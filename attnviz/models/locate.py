"""From a model's name to its files: in the catalog, under a path, or on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from attnviz.errors import AttnVizError
from attnviz.models import catalog, hub
from attnviz.models.model_files import FileStamp, ModelFiles, file_stamp


def locate(name: str, revision: str | None = None) -> ModelFiles:
    """The files of the model called ``name``, downloaded if they are only on the hub.

    Args:
        name: a catalog name, a path of a folder or a .gguf file, or a hub id; tried in this order.
        revision: a branch, tag or commit, for a hub id.

    Raises:
        AttnVizError: no such model, or one that cannot be opened or downloaded.
    """
    if not name:
        raise AttnVizError("No model name given.", "Choose one from the list or type a name.")
    for entry in catalog.entries():
        if entry.name == name:
            return ModelFiles(entry.source, name)
    if name.startswith(("//", "\\\\")) or "\0" in name:  # Windows would log in to such a share
        raise AttnVizError(f"'{name[:80]!r}' is not a path that attnviz opens.")
    return _under_path(name) or hub.fetch(name, revision)


def model_stamp(name: str) -> FileStamp:
    """The `file_stamp` of a local model: it differs once the model has to be loaded again.

    Empty for a name that is neither in the catalog nor a path on this machine.
    """
    try:
        sources = (entry.source for entry in catalog.entries() if entry.name == name)
        return file_stamp(next(sources, Path(name).expanduser()))
    except (ValueError, RuntimeError):  # the name cannot be a path
        return ()


def _under_path(name: str) -> ModelFiles | None:
    """The folder or .gguf file at the path ``name``; None if ``name`` may be a hub id instead."""
    try:
        path = Path(name).expanduser()
        if path.is_file():
            if path.suffix.lower() == ".gguf":
                return ModelFiles(path, path.stem)
            raise AttnVizError(
                f"{path.name} is not a .gguf file.",
                "Give the folder that holds the model's config.json, or a .gguf file.",
            )
        if path.is_dir():
            return ModelFiles(path, path.resolve().name)
    except (OSError, RuntimeError) as error:  # RuntimeError: the ~ of an unknown user
        reason = getattr(error, "strerror", None) or error
        raise AttnVizError(f"{name[:80]} cannot be opened ({reason}).") from error
    if _looks_like_path(name):
        raise AttnVizError(
            f"There is no file or folder {name[:200]}.",
            "Check the path; ~ stands for your home folder.",
        )
    return None


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith((".gguf", ".safetensors", ".bin"))
        or re.match(r"[A-Za-z]:", name) is not None
    )
