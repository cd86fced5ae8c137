"""Checkpoints on disk: complete or absent, and nothing in them but safetensors and JSON.

A checkpoint folder is what `save_pretrained` writes (a model, or an adapter) with its tokenizer.
Its subfolder ``training/`` is for resuming: the state of the optimizer, of the random number
generators and of the loop.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from attnviz.train.training_setup import TrainingSetup

RESUME_FOLDER = "training"


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Writes a folder atomically: ``fill`` writes a draft beside it, which is then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".draft-{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        fill(draft)
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def save_model(module: Any, setup: TrainingSetup, folder: Path) -> None:
    """Saves the model (or adapter) with its tokenizer, processor and catalog entry."""
    if hasattr(module, "peft_config"):
        # the default, "auto", would send a request to the hub
        module.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    else:
        module.save_pretrained(folder)
    for part in (setup.tokenizer, setup.processor):
        if part is not None:
            part.save_pretrained(folder)
    if setup.catalog_entry:
        (folder / "entry.json").write_text(
            json.dumps(setup.catalog_entry, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def save_optimizer(folder: Path, optimizer: dict[str, Any], scheduler: dict[str, Any]) -> None:
    """Writes the state dicts of the optimizer and of the learning-rate scheduler."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value.detach().contiguous()
            else:
                numbers.setdefault(str(index), {})[name] = value
    save_file(tensors, folder / "optimizer.safetensors")
    content = {"groups": optimizer["param_groups"], "state": numbers, "scheduler": scheduler}
    (folder / "optimizer.json").write_text(json.dumps(content), encoding="utf-8")


def load_optimizer(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state dicts of the optimizer and of the learning-rate scheduler."""
    content = json.loads((folder / "optimizer.json").read_text(encoding="utf-8"))
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in content["state"].items()}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": content["groups"]}, content["scheduler"]


def save_rng_state(folder: Path, rank: int) -> None:
    """Writes the state of this process's random number generators."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    if torch.cuda.is_available():
        tensors |= {f"cuda.{i}": t for i, t in enumerate(torch.cuda.get_rng_state_all())}
    save_file(tensors, folder / f"random-{rank}.safetensors")
    content = {
        "python": [version, list(internal), gauss],
        "numpy": [str(kind), int(position), int(has_gauss), float(cached)],
    }
    (folder / f"random-{rank}.json").write_text(json.dumps(content), encoding="utf-8")


def load_rng_state(folder: Path, rank: int) -> None:
    """Restores the state of this process's random number generators.

    Without a file for this rank (there are more processes than before) they stay as they are.
    """
    path = folder / f"random-{rank}.safetensors"
    if not path.is_file():
        return
    tensors = load_file(path)
    content = json.loads((folder / f"random-{rank}.json").read_text(encoding="utf-8"))
    version, internal, gauss = content["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, position, has_gauss, cached = content["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available():
        n = torch.cuda.device_count()
        states = [tensors[f"cuda.{i}"] for i in range(n) if f"cuda.{i}" in tensors]
        if len(states) == n:
            torch.cuda.set_rng_state_all(states)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files under ``folder``."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # replaced by the training meanwhile
            continue
    return total
