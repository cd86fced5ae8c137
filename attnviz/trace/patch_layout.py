"""Which position of an image model is which patch: from its structure, checked by changing pixels.

layout = patch_layout(module, pixels, tokens)
layout.grid, layout.first      # (16, 16), 5: a class, four registers, then 256 patches
layout.checked                 # each patch was changed, and its own position alone answered
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.models.tokens import Token

_PATCH = re.compile(r"patch (\d+),(\d+)")
_ANSWERS = 1e-3  # of the largest change of a position, from which it has changed


@dataclass(frozen=True)
class PatchLayout:
    """The patches of an image among the positions of a model.

    Attributes:
        grid: rows and columns of patches.
        first: position of the first patch; the others follow row by row.
        patch: (height, width) of a patch, in pixels of the model's input.
        checked: whether changing each patch changed its position and no other; False where the
            model's first layers couldn't be run alone.
    """

    grid: tuple[int, int]
    first: int
    patch: tuple[int, int]
    checked: bool

    @property
    def n_patches(self) -> int:
        return self.grid[0] * self.grid[1]


def patch_layout(
    module: PreTrainedModel, pixels: Tensor, tokens: Sequence[Token]
) -> PatchLayout | None:
    """The layout of one image's patches; None if the tokens are no grid, or the check denies it.

    Args:
        pixels: (1, C, h, w), the model's input. tokens: the positions of its image tower.
    """
    named = [(i, m) for i, token in enumerate(tokens) if (m := _PATCH.fullmatch(token.text))]
    if not named:
        return None
    first, last = named[0][0], named[-1][1]
    rows, columns = int(last[1]) + 1, int(last[2]) + 1
    if len(named) != rows * columns:
        return None
    height, width = pixels.shape[-2:]
    patch = _patch_size(module, pixels) or (height // rows, width // columns)
    layout = PatchLayout((rows, columns), first, patch, False)
    found = answering_patches(module, pixels, layout, len(tokens))
    if found is None:
        return layout
    own = [None] * first + list(range(rows * columns)) + [None] * (len(tokens) - first - len(named))
    return PatchLayout((rows, columns), first, patch, True) if found == own else None


@torch.no_grad()
def answering_patches(
    module: PreTrainedModel, pixels: Tensor, layout: PatchLayout, n: int
) -> list[int | None] | None:
    """For each of n positions, which patch's pixels change its embedding; None for no patch's.

    Patch p is changed in the runs that are the binary digits of p + 1, so that a few runs of the
    embedding tell all patches apart.

    Returns:
        None if the module's embedding can't be run by itself.
    """
    if module.training:
        return None  # dropout changes everything
    rows, columns = layout.grid
    height, width = layout.patch
    number = torch.arange(1, layout.n_patches + 1).view(rows, columns)
    of_pixel = number.repeat_interleave(height, 0).repeat_interleave(width, 1)
    bits = int(layout.n_patches).bit_length()
    noise = torch.randn(pixels.shape[1:], generator=torch.Generator().manual_seed(0)).to(pixels)
    runs = [pixels[0]]
    for bit in range(bits):
        changed = pixels[0].clone()
        on = ((of_pixel >> bit) & 1).to(pixels)  # (h, w) of the grid
        changed[:, : on.shape[0], : on.shape[1]] += (noise[:, : on.shape[0], : on.shape[1]]) * on
        runs.append(changed)
    embedded = _embedded(module, torch.stack(runs), n)
    if embedded is None:
        return None
    moved = (embedded[1:] - embedded[0]).abs().amax(dim=-1)  # (bits, n)
    answers = moved > _ANSWERS * moved.max()
    codes = (answers.long() * 2 ** torch.arange(bits, device=answers.device)[:, None]).sum(0)
    return [int(code) - 1 if code else None for code in codes.tolist()]


def special_names(module: PreTrainedModel, n: int) -> tuple[str, ...] | None:
    """The names of the n positions before the patches, from the embedding's own parameters.

    Returns:
        None if they don't add up to n.
    """
    for part in module.modules():
        own = dict(part.named_parameters(recurse=False))
        names: list[str] = []
        for parameters, name in _SPECIAL:
            found = next((own[p] for p in parameters if p in own), None)
            if found is None:
                continue
            count = found.shape[1] if found.ndim == 3 else 1
            names += [name] if name != _REGISTER else [f"[REG {i}]" for i in range(1, count + 1)]
        if names and len(names) == n:
            return tuple(names)
    return () if n == 0 else None


_REGISTER = "register"
# Names of learned positions in transformers' vision models, in the order in which they are put.
_SPECIAL = (
    (("cls_token", "class_token", "class_embedding"), "[CLS]"),
    (("distillation_token", "dist_token"), "[DIST]"),
    (("register_tokens", "reg_token"), _REGISTER),
)


def _projection(module: nn.Module, channels: int) -> tuple[str, nn.Conv2d] | None:
    """The convolution that turns each patch into a vector."""
    for name, part in module.named_modules():
        is_patches = isinstance(part, nn.Conv2d) and part.kernel_size == part.stride
        if is_patches and part.in_channels == channels:
            return name, part
    return None


def _patch_size(module: nn.Module, pixels: Tensor) -> tuple[int, int] | None:
    found = _projection(module, pixels.shape[1])
    if found is None:
        return None
    height, width = found[1].kernel_size
    return int(height), int(width)


def _embedded(module: PreTrainedModel, pixels: Tensor, n: int) -> Tensor | None:
    """(runs, n, d): the embeddings of images, from the smallest part that gives n positions."""
    found = _projection(module, pixels.shape[1])
    if found is None:
        return None
    for part in _around(module, found[0]):
        try:
            made: Any = part(pixels)
        except Exception:  # it needs more than pixels
            continue
        made = made[0] if isinstance(made, tuple | list) else made
        if isinstance(made, Tensor) and made.ndim == 3 and made.shape[1] == n:
            return made.float()
    return None


def _around(module: nn.Module, name: str) -> Iterator[nn.Module]:
    """The parts of a model around one of its modules, from the inside, without whole models."""
    path = name.split(".")
    for depth in range(len(path) - 1, 0, -1):
        part = module.get_submodule(".".join(path[:depth]))
        if isinstance(part, PreTrainedModel):
            return
        yield part
