"""What a training has changed, and what a person takes home."""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.models import catalog
from attnviz.trace import AttentionMap, Prediction, Trace
from attnviz.train import snapshots
from attnviz.train.checkpoint_files import TRAINING, write_folder
from attnviz.train.job import Job

Form = Literal["model", "adapter"]
ROWS = 256  # weights of this many queries are held at once
STILL = ("entry.json",)  # ours, for the catalog; other programs do not need it


@dataclass(frozen=True)
class Change:
    """How a training changed the probe.

    Attributes:
        divergence: (layers, heads) Jensen-Shannon divergence of the weights in bits, 0 to 1, the
            mean over queries; NaN where a layer has fewer heads or could not be shown.
        before, after: the first and the last snapshot.
    """

    divergence: np.ndarray
    before: snapshots.Snapshot
    after: snapshots.Snapshot

    def most_changed(self, n: int) -> list[tuple[int, int]]:
        """The n (layer, head) with the largest divergence."""
        flat = np.nan_to_num(self.divergence, nan=-1.0).ravel()
        order = [int(i) for i in np.argsort(-flat, kind="stable")[:n] if flat[i] >= 0]
        return [divmod(i, self.divergence.shape[1]) for i in order]

    @property
    def predictions(self) -> tuple[tuple[Prediction, ...], tuple[Prediction, ...]]:
        """The likeliest tokens (or classes) before and after."""
        return self.before.predictions, self.after.predictions


def change(job: Job) -> Change:
    """What the job changed, from its first snapshot to its last.

    Raises:
        AttnVizError: there are not two snapshots.
    """
    paths = job.snapshots()
    if len(paths) < 2:
        raise AttnVizError(
            "The job has no two snapshots to compare.", "Train with snapshots of the probe."
        )
    before, after = snapshots.read(paths[0]), snapshots.read(paths[-1])
    return Change(divergences(before.trace, after.trace), before, after)


def divergences(before: Trace, after: Trace) -> np.ndarray:
    """(layers, heads) mean Jensen-Shannon divergence between two traces of the same input."""
    n_heads = max((layer.n_heads for layer in after.layers), default=0)
    out = np.full((len(after.layers), n_heads), np.nan)
    for a, b in zip(before.layers, after.layers, strict=True):
        if "refused" in (a.source, b.source) or (a.n_q, a.n_k) != (b.n_q, b.n_k):
            continue
        for head in range(b.n_heads):
            first, second = before.attention(a.index, head), after.attention(b.index, head)
            out[b.index, head] = divergence(first, second)
    return out


def divergence(a: AttentionMap, b: AttentionMap) -> float:
    """Mean over queries of the Jensen-Shannon divergence of two heads' weights, in bits (Lin 1991).

    A row whose weights do not sum to one (an attention sink took the rest) counts the rest as one
    more key.
    """
    total = 0.0
    for i in range(0, a.n_q, ROWS):
        rows = slice(i, min(i + ROWS, a.n_q))
        p, q = _whole(a.weights(rows)), _whole(b.weights(rows))
        middle = (p + q) / 2
        total += float((_relative(p, middle) + _relative(q, middle)).sum() / 2)
    return max(0.0, total / max(1, a.n_q))


def _whole(w: Tensor) -> Tensor:
    w = w.double()
    return torch.cat([w, (1 - w.sum(-1, keepdim=True)).clamp(min=0)], dim=-1)


def _relative(p: Tensor, q: Tensor) -> Tensor:
    """(r,) Kullback-Leibler divergence in bits; nothing times anything is nothing."""
    ratio = torch.where(p > 0, p / q, torch.ones_like(p))
    return (p * torch.log2(ratio)).sum(-1)


def keep(job: Job, name: str) -> Path:
    """Keeps the job's model in the catalog under a name: every page then lists it.

    Raises:
        AttnVizError: there is no model yet, or the name cannot be or is taken.
    """
    if job.model is None:
        raise AttnVizError("This job has no model to keep.", "Let it reach a checkpoint first.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
        raise AttnVizError(
            f"'{name[:80]}' cannot be a name.", "Use letters, digits, dots and hyphens."
        )
    if any(entry.name == name for entry in catalog.entries()):
        raise AttnVizError(f"There is a model called '{name}' already.", "Choose another name.")
    source = job.model

    def fill(folder: Path) -> None:
        for path in source.iterdir():
            if path.is_file():
                shutil.copy(path, folder)

    target = catalog.trained_models_folder() / name
    write_folder(target, fill)
    return target


def forms(job: Job) -> tuple[Form, ...]:
    """What can be taken home of a job."""
    newest = job.checkpoint
    adapter = newest is not None and (newest / "adapter_config.json").is_file()
    return (*(("model",) if job.model else ()), *(("adapter",) if adapter else ()))  # type: ignore[return-value]


def pack(job: Job, form: Form, target: Path) -> Path:
    """Writes the model, or the adapter alone, as a zip file; `save_pretrained`'s layout inside.

    Raises:
        AttnVizError: the job has no such thing.
    """
    if form not in forms(job):
        raise AttnVizError(f"This job has no {form} to save.", "Let it reach a checkpoint first.")
    source = job.model if form == "model" else job.checkpoint
    assert source is not None
    draft = target.with_name(f".draft-{target.name}")
    try:
        # weights do not get smaller by packing
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as packed:
            for path in sorted(source.rglob("*")):
                inside = path.relative_to(source)
                if path.is_file() and inside.parts[0] != TRAINING and path.name not in STILL:
                    packed.write(path, f"{job.name}/{inside.as_posix()}")
        shutil.move(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target
