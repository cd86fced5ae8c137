"""Checkpoints: whole or not there at all, and nothing in them but safetensors and JSON.

A checkpoint folder is what `save_pretrained` writes (a model, or an adapter) with the tokenizer,
and ``training/`` with what a resumed training needs: the optimizer's state, the random generators'
and the loop's.
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

TRAINING = "training"


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder by filling a draft beside it and renaming that."""
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
    """The model (or adapter) with what is needed to feed it and to list it."""
    if hasattr(module, "peft_config"):
        module.save_pretrained(folder, save_embedding_layers=False)  # "auto" would ask the hub
        (folder / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in
    else:
        module.save_pretrained(folder)
    for part in (setup.tokenizer, setup.processor):
        if part is not None:
            part.save_pretrained(folder)
    if setup.about:
        (folder / "entry.json").write_text(
            json.dumps(setup.about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def save_optimizer(folder: Path, optimizer: dict[str, Any], scheduler: dict[str, Any]) -> None:
    """Writes the state dicts of the optimizer and of the learning-rate schedule."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for place, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{place}.{name}"] = value.detach().contiguous()
            else:
                rest.setdefault(str(place), {})[name] = value
    save_file(tensors, folder / "optimizer.safetensors")
    plain = {"groups": optimizer["param_groups"], "state": rest, "scheduler": scheduler}
    (folder / "optimizer.json").write_text(json.dumps(plain), encoding="utf-8")


def load_optimizer(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state dicts of the optimizer and of the schedule."""
    plain = json.loads((folder / "optimizer.json").read_text(encoding="utf-8"))
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in plain["state"].items()}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    return {"state": state, "param_groups": plain["groups"]}, plain["scheduler"]


def save_rng_state(folder: Path, rank: int) -> None:
    """Writes where this process's random generators stand."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    if torch.cuda.is_available():
        tensors |= {f"cuda.{i}": t for i, t in enumerate(torch.cuda.get_rng_state_all())}
    save_file(tensors, folder / f"random-{rank}.safetensors")
    plain = {
        "python": [version, list(internal), gauss],
        "numpy": [str(kind), int(position), int(has_gauss), float(cached)],
    }
    (folder / f"random-{rank}.json").write_text(json.dumps(plain), encoding="utf-8")


def load_rng_state(folder: Path, rank: int) -> None:
    """Puts this process's random generators where they stood."""
    path = folder / f"random-{rank}.safetensors"
    if not path.is_file():  # more processes than before: theirs begin anew
        return
    tensors = load_file(path)
    plain = json.loads((folder / f"random-{rank}.json").read_text(encoding="utf-8"))
    version, internal, gauss = plain["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, position, has_gauss, cached = plain["numpy"]
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
        except FileNotFoundError:  # replaced while we looked
            continue
    return total
