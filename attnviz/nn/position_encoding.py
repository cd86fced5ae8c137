"""Position encodings: none, sinusoidal, learned, RoPE, ALiBi and T5."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnviz.errors import AttnVizError
from attnviz.nn.config import AttentionConfig
from attnviz.nn.initialization import Table


class RotaryAngles(NamedTuple):
    """RoPE's cosines and sines at each position, each (1 or B, 1, n, d_head)."""

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


def rotary_angles(positions: Tensor, d_head: int, theta: float, dtype: torch.dtype) -> RotaryAngles:
    """The angles by which RoPE rotates each pair of features at ``positions`` (1 or B, n).

    Su et al. 2021. Feature i is paired with feature i + d_head / 2, as in Llama.
    """
    precision = torch.promote_types(dtype, torch.float32)
    even = torch.arange(0, d_head, 2, device=positions.device, dtype=precision)
    frequency = 1.0 / theta ** (even / d_head)  # (d_head / 2)
    half = positions[:, None, :, None].to(precision) * frequency  # (1 or B, 1, n, d_head / 2)
    angles = torch.cat((half, half), dim=-1)  # (1 or B, 1, n, d_head)
    return RotaryAngles(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate(x: Tensor, angles: RotaryAngles) -> Tensor:
    """The queries or keys ``x`` (B, H, n, d_head), rotated by the angles of their positions."""
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos + torch.cat((-second, first), dim=-1) * angles.sin


def alibi_slopes(n_heads: int) -> Tensor:
    """How steeply each head's bias falls with distance: (H,). Press et al. 2021.

    If H is a power of two, a geometric series that begins with 2^(-8/H). Otherwise the series of
    the next lower power of two, then every second slope of the next higher one.
    """
    power = 2 ** int(math.log2(n_heads))
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4.0 * (i + 1) / power) for i in range(0, 2 * (n_heads - power), 2)]
    return torch.tensor(slopes + between, dtype=torch.float64)


def t5_bucket(ahead: Tensor, bidirectional: bool, buckets: int, max_distance: int) -> Tensor:
    """The row of T5's table for keys ``ahead`` tokens after the query. Raffel et al. 2020.

    Half of the buckets are for one distance each; the others grow logarithmically up to
    ``max_distance``. If bidirectional, past and future have half of the table each; if not, every
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


class PositionEncoding(nn.Module):
    """The encoding that ``config.positions`` names, with its table if it is learned.

    Each encoding acts at one of three points: it adds vectors to the input, rotates queries and
    keys, or adds a bias to the scores. The methods for the other two return None.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        if config.positions == "learned":
            self.table = Table(config.max_positions, config.d_model)
        if config.positions == "t5":
            self.table = Table(config.t5_buckets, config.n_heads)

    def vectors(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        """The vectors to add to the input at ``positions`` (1 or B, n): (1 or B, n, d_model).

        Raises:
            AttnVizError: a position beyond the learned table.
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

    def rotary_angles(self, positions: Tensor, dtype: torch.dtype) -> RotaryAngles | None:
        """RoPE's angles at ``positions`` (1 or B, n)."""
        if self.config.positions != "rope":
            return None
        return rotary_angles(positions, self.config.head_dim, self.config.rope_theta, dtype)

    def bias(self, n_q: int, n_k: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """The bias to add to the scores, (1, H, n_q, n_k); the queries are the last tokens."""
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
