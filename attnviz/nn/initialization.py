"""Initial weights from a seed and each parameter's name, never from global random state."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import initialization as init


class Linear(nn.Linear):
    """``nn.Linear`` without random initial weights; :func:`seed_weights` fills it."""

    def reset_parameters(self) -> None:
        """Leaves the weights to :func:`seed_weights`."""


class Table(nn.Embedding):
    """``nn.Embedding`` without random initial weights; :func:`seed_weights` fills it."""

    def reset_parameters(self) -> None:
        """Leaves the weights to :func:`seed_weights`."""


def make_norm(kind: str, size: int, eps: float) -> nn.Module:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last dimension."""
    return nn.RMSNorm(size, eps=eps) if kind == "rms" else nn.LayerNorm(size, eps=eps)


@torch.no_grad()
def seed_weights(root: nn.Module, seed: int, table_std: float) -> None:
    """Fills every parameter under ``root``, each from the seed and its own name alone.

    So changing one option of a layer leaves all other weights as they were. Linear maps have a
    standard deviation of 1/sqrt(inputs), which preserves a vector's size, and tables of
    ``table_std``. Norms start at one, biases and sinks at zero. Weights that transformers has
    loaded from a checkpoint stay, because its ``init`` functions skip them.
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
    """The full name, module and tensor of each parameter under ``root``."""
    for path, module in root.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield f"{path}.{name}".lstrip("."), module, parameter


def derived_seed(seed: int, name: str) -> int:
    """A seed for one named tensor, e.g. a parameter or a token's vector."""
    return zlib.crc32(f"{seed}/{name}".encode())
