"""The feed-forward sublayer: two linear maps, applied to each token separately."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from attnviz.nn.config import AttentionConfig
from attnviz.nn.initialization import Linear, make_norm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swiglu": F.silu,
}


@dataclass(frozen=True)
class FeedForwardSteps:
    """Every intermediate of the feed-forward sublayer; None where the option is off."""

    normed: Tensor | None  # (B, n, d_model), pre-norm
    hidden: Tensor  # (B, n, hidden_dim), after the activation
    projected: Tensor  # (B, n, d_model)
    residual_sum: Tensor | None  # (B, n, d_model)
    post_normed: Tensor | None  # (B, n, d_model), post-norm
    output: Tensor  # (B, n, d_model)


class FeedForward(nn.Module):
    """(B, n, d_model) to the same shape, with the norm and the residual of the settings."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.settings = config
        d_model, hidden = config.d_model, config.hidden_dim
        self.up_proj = Linear(d_model, hidden, bias=config.bias)
        if config.activation == "swiglu":
            self.gate_proj = Linear(d_model, hidden, bias=config.bias)
        self.down_proj = Linear(hidden, d_model, bias=config.bias)
        if config.norm != "none":
            self.norm = make_norm(config.norm_kind, d_model, config.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """The output of :meth:`explain`."""
        return self.explain(x).output

    def explain(self, x: Tensor) -> FeedForwardSteps:
        """Every intermediate, from the input x (B, n, d_model) to the output."""
        config = self.settings
        normed = self.norm(x) if config.norm == "pre" else None
        inputs = x if normed is None else normed
        activate = ACTIVATIONS[config.activation]
        if config.activation == "swiglu":
            hidden = activate(self.gate_proj(inputs)) * self.up_proj(inputs)
        else:
            hidden = activate(self.up_proj(inputs))  # (B, n, hidden_dim)
        projected = self.down_proj(hidden)
        residual_sum = x + projected if config.residual else None
        output = projected if residual_sum is None else residual_sum
        post_normed = self.norm(output) if config.norm == "post" else None
        return FeedForwardSteps(
            normed=normed,
            hidden=hidden,
            projected=projected,
            residual_sum=residual_sum,
            post_normed=post_normed,
            output=output if post_normed is None else post_normed,
        )
