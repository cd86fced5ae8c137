"""Random weights under which a mistake shows.

A fresh model's weights hide mistakes: query and key products near zero make every attention map
uniform, and sinks, biases, gates and relative-position tables often start at nought. So every
parameter is drawn again.
"""

from __future__ import annotations

import math
import re

import torch
from torch import nn

_QUERY_KEY = re.compile(
    r"\b(q|k|query|key|wq|wk|wqkv|qkv|c_attn|in_proj|query_key_value)(_proj|_a|_b|_b_proj)?\b"
)


@torch.no_grad()
def draw_weights(module: nn.Module, seed: int = 0) -> None:
    """Draws every parameter of `module` from a seeded generator, in the order of its modules."""
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    for path, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) in done or not parameter.is_floating_point():
                continue
            done.add(id(parameter))
            noise = torch.randn(parameter.shape, generator=generator)
            if (
                parameter.dim() < 2
            ):  # norms, biases, sinks, gates: about what they were, each a little different
                parameter.add_(noise, alpha=1.0 if "sink" in name else 0.2)
            elif isinstance(part, nn.Embedding):
                parameter.copy_(noise).mul_(0.5)
            else:
                gain = 1.4 if _QUERY_KEY.search(f"{path}.{name}") else 1.0
                fan_in = (
                    math.prod(parameter.shape[1:]) if parameter.dim() != 3 else parameter.shape[-1]
                )
                parameter.copy_(noise).mul_(gain / math.sqrt(fan_in))
