"""Random settings over every option of the layer, and attention computed element by element."""

from __future__ import annotations

import math
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from attnviz.nn import AttentionConfig, MultiHeadAttention


@st.composite
def settings(draw: st.DrawFn, **fixed: Any) -> AttentionConfig:
    """Any valid settings of a small layer; ``fixed`` ones are not drawn."""
    n_kv_heads = draw(st.integers(1, 3))
    n_heads = n_kv_heads * draw(st.integers(1, 3))
    d_head = draw(st.sampled_from((None, 2, 4, 6)))
    drawn: dict[str, Any] = {
        "d_model": n_heads * draw(st.sampled_from((2, 4))) if d_head is None else 12,
        "n_heads": n_heads,
        "n_kv_heads": draw(st.sampled_from((None, n_kv_heads))),
        "d_head": d_head,
        "bias": draw(st.booleans()),
        "scale": draw(st.sampled_from(("sqrt", "none", 0.3))),
        "temperature": draw(st.sampled_from((0.5, 1.0, 3.0))),
        "qk_norm": draw(st.booleans()),
        "softcap": draw(st.sampled_from((None, None, 2.0))),
        "sink": draw(st.sampled_from((False, False, True))),
        "mask": draw(st.sampled_from(("none", "causal", "sliding", "prefix"))),
        "window": draw(st.integers(1, 4)),
        "prefix": draw(st.integers(0, 4)),
        "positions": draw(
            st.sampled_from(("none", "sinusoidal", "learned", "rope", "alibi", "t5"))
        ),
        "t5_buckets": draw(st.sampled_from((4, 8))),
        "t5_max_distance": 6,
        "residual": draw(st.booleans()),
        "norm": draw(st.sampled_from(("pre", "post", "none"))),
        "norm_kind": draw(st.sampled_from(("layer", "rms"))),
        "feed_forward": draw(st.booleans()),
        "activation": draw(st.sampled_from(("gelu", "gelu_tanh", "relu", "silu", "swiglu"))),
        "seed": draw(st.integers(0, 2**32)),
    }
    return AttentionConfig(**(drawn | fixed))


@st.composite
def calls(draw: st.DrawFn, d_model: int) -> dict[str, Tensor | None]:
    """Inputs of a layer in float64: x, maybe a context, maybe padding on either side."""
    B, n_q = draw(st.integers(1, 3)), draw(st.integers(1, 7))
    n_k = draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    # Small enough that unscaled scores stay below about 4, where float32 resolves 5e-7.
    x = 0.5 * torch.randn(B, n_q, d_model, generator=generator, dtype=torch.float64)
    context = None
    if draw(st.booleans()):
        context = 0.5 * torch.randn(B, n_k, d_model, generator=generator, dtype=torch.float64)
    padding = None
    if draw(st.booleans()):
        keys = n_q if context is None else n_k
        hidden = [draw(st.integers(0, keys)) for _ in range(B)]
        column = torch.arange(keys)
        padding = torch.stack([column >= h for h in hidden])
        if draw(st.booleans()):
            padding = padding.flip(-1)
    return {"x": x, "context": context, "padding": padding}


def perturb_parameters(layer: MultiHeadAttention) -> MultiHeadAttention:
    """Change biases, sinks and norms from their initial values, so that omitting one shows."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return layer


def head_outputs(
    layer: MultiHeadAttention, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, cross: bool
) -> tuple[Tensor, Tensor]:
    """Weights and head outputs of ``q``, ``k``, ``v``, element by element from the definitions."""
    c = layer.settings
    B, H, n_q, d = q.shape
    n_k = k.shape[2]
    weights = torch.zeros(B, H, n_q, n_k, dtype=torch.float64)
    outputs = torch.zeros(B, H, n_q, d, dtype=torch.float64)
    scale = {"sqrt": 1 / math.sqrt(d), "none": 1.0}.get(c.scale, c.scale)
    for b in range(B):
        real = [True] * n_k if padding is None else padding[b].tolist()
        first = 0 if cross or True not in real else real.index(True)
        for h in range(H):
            shared = h // (c.n_heads // c.kv_heads)
            for i in range(n_q):
                exponentials = []
                for j in range(n_k):
                    if not real[j] or not (cross or sees(c, i, j, first)):
                        exponentials.append(0.0)
                        continue
                    score = float(sum(q[b, h, i] * k[b, shared, j])) * scale / c.temperature
                    if c.softcap is not None:
                        score = c.softcap * math.tanh(score / c.softcap)
                    if not cross:
                        score += bias(layer, h, i, j)
                    exponentials.append(math.exp(score))
                total = sum(exponentials)
                if c.sink:
                    total += math.exp(float(layer.sinks[h]))
                for j in range(n_k):
                    weights[b, h, i, j] = exponentials[j] / total if total else 0.0
                    outputs[b, h, i] += weights[b, h, i, j] * v[b, shared, j]
    return weights, outputs


def sees(c: AttentionConfig, i: int, j: int, first: int = 0) -> bool:
    """Whether query i may see key j; tokens before ``first`` are padding."""
    if c.mask == "none":
        return True
    if c.mask == "sliding":
        return i - c.window < j <= i
    return j <= i or (c.mask == "prefix" and j - first < c.prefix)


def bias(layer: MultiHeadAttention, h: int, i: int, j: int) -> float:
    """The position bias of head h for query i and key j."""
    c = layer.settings
    if c.positions == "alibi":
        return -slope(h, c.n_heads) * abs(i - j)
    if c.positions == "t5":
        both_ways = c.mask in ("none", "prefix")
        return float(layer.positions.table.weight[bucket(j - i, both_ways, c), h])
    return 0.0


def slope(h: int, n_heads: int) -> float:
    """ALiBi's slope of head h, from the paper's rule for any number of heads."""
    power = 1
    while power * 2 <= n_heads:
        power *= 2
    if h < power:
        return 2 ** (-8 * (h + 1) / power)
    return 2 ** (-4 * (2 * (h - power) + 1) / power)


def bucket(ahead: int, both_ways: bool, c: AttentionConfig) -> int:
    """T5's bucket of a key ``ahead`` tokens after the query."""
    buckets, offset = c.t5_buckets, 0
    if both_ways:
        buckets //= 2
        offset = buckets if ahead > 0 else 0
        distance = abs(ahead)
    else:
        distance = max(-ahead, 0)
    exact = buckets // 2
    if distance < exact:
        return offset + distance
    # T5 computes this logarithm in float32, and where it is a whole number that decides
    ratio = torch.log(torch.tensor(distance / exact)) / math.log(c.t5_max_distance / exact)
    return offset + min(exact + int(ratio * (buckets - exact)), buckets - 1)
