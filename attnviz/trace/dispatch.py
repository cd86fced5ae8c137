"""A dispatched attention call as a frozen value: everything the model called its function with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Dispatch:
    """One call through transformers' attention interface.

    Attributes:
        implementation: its name, e.g. "sdpa". function: what the model calls.
        eager: the layer's own eager function.
        query: (B, H, n_q, d_head). key, value: (B, H_kv, n_k, d).
        mask: a tensor, an object of the implementation's own, or None.
        options: the remaining arguments: scaling, dropout, softcap, sinks, ...
    """

    implementation: str
    function: AttentionFunction
    eager: AttentionFunction
    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any
    options: dict[str, Any]

    @property
    def is_eager(self) -> bool:
        """Whether the model runs its eager function."""
        return self.function is self.eager

    @property
    def is_causal(self) -> bool:
        """Whether the function hides later keys although there is no mask."""
        if self.mask is not None or self.is_eager or self.query.shape[2] < 2:
            return False
        option = self.options.get("is_causal")
        return bool(getattr(self.module, "is_causal", True) if option is None else option)

    @property
    def is_random(self) -> bool:
        """Whether the call uses random numbers (dropout), so that running it again differs."""
        if not self.module.training:
            return False
        layers = (m for m in self.module.modules() if isinstance(m, nn.Dropout))
        return bool(self.options.get("dropout")) or any(m.p > 0 for m in layers)

    def run(self) -> tuple[Tensor, Tensor | None]:
        """(B, n_q, H, d_v) outputs as the model gets them, and weights if they are returned."""
        return self.function(
            self.module, self.query, self.key, self.value, self.mask, **self.options
        )

    def run_with_values(self, values: Tensor, keys: slice, rows: Tensor | slice) -> Tensor:
        """(B, r, H, d_v): the function's outputs for other values, some rows and some keys.

        Args:
            values: (B, H_kv, n_k, d_v). rows: of the queries and of all that has a row for each.
        """
        n_q, n_k = self.query.shape[2], self.key.shape[2]

        def cut(t: Any) -> Any:  # (B or 1, H or 1, n_q or 1, n_k)
            if not isinstance(t, Tensor) or t.ndim != 4:
                return t
            t = t[:, :, rows] if t.shape[2] == n_q else t
            return t[..., keys] if t.shape[3] == n_k else t

        options = {k: cut(t) if k == "position_bias" else t for k, t in self.options.items()}
        return self.function(
            self.module, self.query[:, :, rows], self.key[:, :, keys], values[:, :, keys],
            cut(self.mask), **options,
        )[0]  # fmt: skip
