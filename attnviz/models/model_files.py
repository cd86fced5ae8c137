"""A model's files on this machine, and whether they have changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FileStamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's files are.

    Attributes:
        path: the checkpoint folder, or a .gguf file.
        name: what the model is called on screen.
        commit: the hub's hash of these files; None for what did not come from the hub.
        notes: sentences to show.
    """

    path: Path
    name: str
    commit: str | None = None
    notes: tuple[str, ...] = ()


def file_stamp(path: Path) -> FileStamp:
    """Name, size, modification time and inode of each file in a folder (or of one file).

    Equal stamps mean that nothing has changed. No content is read, so it is cheap enough for every
    rerun of a page. Empty if the path does not exist or cannot be listed.
    """
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(file.name, file.stat()) for file in files if file.is_file()]
    except OSError:
        return ()
    return tuple((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in stats)
