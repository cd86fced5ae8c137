"""Six ways to tell attention where a token stands."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnviz.errors import AttnVizError
from attnviz.nn.config import AttentionConfig
from attnviz.nn.initialization import Table


class Rotation(NamedTuple):
    """RoPE's angles at each position: cosines and sines, each (1 or B, 1, n, d_head)."""

    cos: Tensor
    sin: Tensor


def sinusoids(positions: Tensor, d_model: int, dtype: torch.dtype) -> Tensor:
    """Sines (even features) and cosines (odd ones) of each position: (..., n, d_model).

    Vaswani et al. 2017, section 3.5. Wavelengths run from 2 pi to 10,000 * 2 pi.
    """
    precision = torch.promote_types(dtype, torch.float32)  # bfloat16 cannot count to 300
    even = torch.arange(0, d_model, 2, device=positions.device, dtype=precision)
    angles = positions[..., None] * 10_000.0 ** (-even / d_model)  # (..., n, d_model / 2)
    waves = torch.stack((angles.sin(), angles.cos()), dim=-1)  # (..., n, d_model / 2, 2)
    return waves.flatten(-2).to(dtype)  # (..., n, d_model)


def rotation(positions: Tensor, d_head: int, theta: float, dtype: torch.dtype) -> Rotation:
    """Angles by which RoPE turns each pair of features at ``positions`` (1 or B, n).

    Su et al. 2021. Feature i is paired with feature i + d_head / 2, as in Llama.
    """
    precision = torch.promote_types(dtype, torch.float32)
    even = torch.arange(0, d_head, 2, device=positions.device, dtype=precision)
    frequency = 1.0 / theta ** (even / d_head)  # (d_head / 2)
    half = positions[:, None, :, None].to(precision) * frequency  # (1 or B, 1, n, d_head / 2)
    angles = torch.cat((half, half), dim=-1)  # (1 or B, 1, n, d_head)
    return Rotation(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Turns the queries or keys ``x`` (B, H, n, d_head) by the angles of their positions."""
    first, second = x.chunk(2, dim=-1)
    return x * turn.cos + torch.cat((-second, first), dim=-1) * turn.sin


def alibi_slopes(n_heads: int) -> Tensor:
    """How steeply each head's bias falls with distance: (H,). Press et al. 2021.

    A geometric series from 2^(-8/H) for a power of two; otherwise the series of the power of two
    below, then every second slope of the one above.
    """
    power = 2 ** int(math.log2(n_heads))
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4.0 * (i + 1) / power) for i in range(0, 2 * (n_heads - power), 2)]
    return torch.tensor(slopes + between, dtype=torch.float64)


def t5_bucket(ahead: Tensor, bidirectional: bool, buckets: int, max_distance: int) -> Tensor:
    """Row of T5's table for keys ``ahead`` tokens after the query. Raffel et al. 2020.

    Half of the buckets hold one distance each; the others grow logarithmically up to
    ``max_distance``. Bidirectional: past and future have half of the table each; else every
    future key counts as distance 0.
    """
    offset = torch.zeros_like(ahead)
    if bidirectional:
        buckets //= 2
        offset = (ahead > 0).long() * buckets
        distance = ahead.abs()
    else:
        distance = (-ahead).clamp(min=0)
    exact = buckets // 2
    growth = torch.log(distance.clamp(min=exact).float() / exact) / math.log(max_distance / exact)
    far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    return offset + torch.where(distance < exact, distance, far)


class PositionScheme(nn.Module):
    """The scheme ``config.positions`` names, with its table if it learns one.

    A scheme acts in one of three places: it is added to the input, turns the queries and keys,
    or biases the scores. The other two methods then return None.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        if config.positions == "learned":
            self.table = Table(config.max_positions, config.d_model)
        if config.positions == "t5":
            self.table = Table(config.t5_buckets, config.n_heads)

    def added(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        """What is added to the input at ``positions`` (1 or B, n): (1 or B, n, d_model).

        Raises:
            AttnVizError: a position lies beyond the learned table.
        """
        if self.config.positions == "sinusoidal":
            return sinusoids(positions, self.config.d_model, dtype)
        if self.config.positions == "learned":
            longest = int(positions.max()) + 1 if positions.numel() else 0
            if longest > self.config.max_positions:
                raise AttnVizError(
                    f"The input has {longest} tokens and the table of learned positions "
                    f"{self.config.max_positions}.",
                    "Shorten the input, raise max_positions, or choose other positions.",
                )
            return self.table(positions)
        return None

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation | None:
        """RoPE's angles at ``positions`` (1 or B, n)."""
        if self.config.positions != "rope":
            return None
        return rotation(positions, self.config.head_dim, self.config.rope_theta, dtype)

    def bias(self, n_q: int, n_k: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """What is added to the scores, (1, H, n_q, n_k); the queries are the last keys."""
        if self.config.positions not in ("alibi", "t5"):
            return None
        key = torch.arange(n_k, device=device)
        query = torch.arange(n_k - n_q, n_k, device=device)
        ahead = key[None, :] - query[:, None]  # (n_q, n_k)
        if self.config.positions == "alibi":
            slopes = alibi_slopes(self.config.n_heads).to(dtype).to(device)
            return (-slopes[:, None, None] * ahead.abs())[None]  # (1, H, n_q, n_k)
        bucket = t5_bucket(
            ahead, not self.config.is_causal, self.config.t5_buckets, self.config.t5_max_distance
        )
        return self.table(bucket).permute(2, 0, 1)[None].contiguous()  # (1, H, n_q, n_k)
