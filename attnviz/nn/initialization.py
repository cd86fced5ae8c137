"""Layers whose first weights come from a seed and their own name, never from global state."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import initialization as init


class Linear(nn.Linear):
    """``nn.Linear`` that draws nothing when it is made; :func:`seed_weights` fills it."""

    def reset_parameters(self) -> None:
        """Leaves the weights to :func:`seed_weights`."""


class Table(nn.Embedding):
    """``nn.Embedding`` that draws nothing when it is made; :func:`seed_weights` fills it."""

    def reset_parameters(self) -> None:
        """Leaves the weights to :func:`seed_weights`."""


def make_norm(kind: str, size: int, eps: float) -> nn.Module:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last dimension."""
    return nn.RMSNorm(size, eps=eps) if kind == "rms" else nn.LayerNorm(size, eps=eps)


@torch.no_grad()
def seed_weights(root: nn.Module, seed: int, table_std: float) -> None:
    """Fills every parameter under ``root``, each from (seed, its name) alone.

    So turning one option of a layer leaves the weights of all others as they were. Linear maps
    have standard deviation 1/sqrt(inputs), which keeps a vector's size; tables ``table_std``;
    norms start at one; biases and sinks at zero. Weights that transformers has loaded from a
    checkpoint stay (its ``init`` functions skip them).
    """
    for name, module, parameter in _parameters(root):
        if parameter.is_meta:
            continue
        if isinstance(module, Table) or (isinstance(module, nn.Linear) and parameter.ndim == 2):
            std = table_std if isinstance(module, Table) else parameter.shape[1] ** -0.5
            generator = torch.Generator(parameter.device).manual_seed(derived_seed(seed, name))
            init.normal_(parameter, mean=0.0, std=std, generator=generator)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and name.endswith("weight"):
            init.ones_(parameter)
        else:
            init.zeros_(parameter)


def _parameters(root: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    for path, module in root.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield f"{path}.{name}".lstrip("."), module, parameter


def derived_seed(seed: int, name: str) -> int:
    return zlib.crc32(f"{seed}/{name}".encode())
