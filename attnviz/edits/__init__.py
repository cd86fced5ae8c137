"""Interventions on attention, as plain values.

    from attnviz.edits import AblateHead
    trace = model.trace("The cat sat", edits=[AblateHead(layer=3, head=5)])

An edit names a layer (its index in ``trace.layers``) and a head. It is applied while the model
runs, so everything downstream changes too, and the trace shows the layer after the edit.

Several edits of one head are applied in order, in two stages. ``BlockEdge``, ``Temperature`` and
``SetPattern`` change the head's weights; ``ScaleHead``, ``AblateHead`` and ``PatchHead`` change its
output, after that. So ``ScaleHead`` with ``SetPattern`` gives the factor times the pattern @ V in
either order, and an ablated or patched output stays whatever happens to the weights.

Until a pattern is set, weights change through their scores: masked keys stay masked, and a sink's
share, or its gate on the output, follows. After that the weights themselves change, and each row
keeps its sum: ``BlockEdge`` removes an edge and scales up the row's others, ``Temperature`` raises
weights to the power 1 / temperature. A gate keeps the value it had before the pattern was set.

What an edit doesn't change stays bit-equal: other heads, other rows of a blocked edge, and
everything where it has no effect (a temperature or factor of 1, an edge without weight).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace.edited import EditedRecord, HeadChange
from attnviz.trace.records import QKVRecord

__all__ = ["AblateHead", "BlockEdge", "PatchHead", "ScaleHead", "SetPattern", "Temperature"]

Layer = QKVRecord | EditedRecord


@dataclass(frozen=True)
class AblateHead:
    """Ablates a head's output.

    Attributes:
        mode: "zero", or "mean": each position gets the head's mean output over all positions. That
            keeps what the head always adds and removes what depends on the position.
    """

    layer: int
    head: int
    mode: Literal["zero", "mean"] = "zero"

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """The change of the layer, whose output is (B, n_q, H, d_v)."""
        _check_head(self.head, layer)
        if self.mode == "zero":
            return HeadChange(self.head, factor=0.0)
        if self.mode != "mean":
            raise AttnVizError(f"A head is not ablated by {self.mode!r}.", 'Use "zero" or "mean".')
        mean = output[:, :, self.head].mean(dim=1, keepdim=True)  # (B, 1, d_v)
        return HeadChange(self.head, output=mean)


@dataclass(frozen=True)
class ScaleHead:
    """Multiplies a head's output by a factor."""

    layer: int
    head: int
    factor: float

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """The change of the layer."""
        _check_head(self.head, layer)
        if not math.isfinite(self.factor):
            raise AttnVizError(
                f"A head is not scaled by {self.factor}.", "Give it a factor that is a number."
            )
        return HeadChange(self.head, factor=float(self.factor))


@dataclass(frozen=True)
class BlockEdge:
    """Stops a query from attending to a key; the row's other keys share its weight.

    A row without other weights becomes zero.
    """

    layer: int
    head: int
    query: int
    key: int

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """The change of the layer."""
        _check_head(self.head, layer)
        n_q, n_k = layer.shape[2:]
        if not (0 <= self.query < n_q and 0 <= self.key < n_k):
            raise AttnVizError(
                f"There is no edge from query {self.query} to key {self.key}.",
                f"The layer has {n_q} queries and {n_k} keys.",
            )
        return HeadChange(self.head, blocked=((self.query, self.key),))


@dataclass(frozen=True)
class Temperature:
    """Divides a head's scores by a temperature: below 1 sharper, above 1 flatter.

    A sink's score stays. A pattern that was set becomes weights ** (1 / temperature).
    """

    layer: int
    head: int
    temperature: float

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """The change of the layer."""
        _check_head(self.head, layer)
        if not self.temperature > 0:
            raise AttnVizError(
                f"A temperature of {self.temperature} is not possible.", "Use one above 0."
            )
        pattern = layer.pattern(self.head) if isinstance(layer, EditedRecord) else None
        if pattern is not None and bool((pattern < 0).any()):
            raise AttnVizError(
                "A pattern with negative weights has no temperature.",
                "Set the weights that it should have, or the temperature first.",
            )
        return HeadChange(self.head, temperature=float(self.temperature))


@dataclass(frozen=True, eq=False)
class SetPattern:
    """Replaces a head's weights; they no longer come from scores.

    Attributes:
        weights: (n_q, n_k); rows need not sum to 1.
    """

    layer: int
    head: int
    weights: Tensor

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """The change of the layer."""
        _check_head(self.head, layer)
        _check_tensor(self.weights, layer.shape[2:], "pattern")
        return HeadChange(self.head, pattern=self.weights.detach().to(layer.q.device))


@dataclass(frozen=True, eq=False)
class PatchHead:
    """Replaces a head's output, e.g. by the same head's output on another text.

    Attributes:
        output: (n_q, d_v), as ``other.attention(layer, head).output()`` returns it.
    """

    layer: int
    head: int
    output: Tensor

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """The change of the layer."""
        _check_head(self.head, layer)
        _check_tensor(self.output, (output.shape[1], output.shape[3]), "output")
        return HeadChange(self.head, output=self.output.detach().to(output.device)[None])


def _check_head(head: int, layer: Layer) -> None:
    H = layer.shape[1]
    if not 0 <= head < H:
        raise AttnVizError(f"There is no head {head} to edit.", f"They run from 0 to {H - 1}.")


def _check_tensor(given: Tensor, shape: tuple[int, ...] | torch.Size, what: str) -> None:
    if tuple(given.shape) != tuple(shape):
        raise AttnVizError(
            f"The {what} has the shape {tuple(given.shape)}.",
            f"This text needs {tuple(shape)}.",
        )
    if not bool(torch.isfinite(given).all()):
        raise AttnVizError(f"The {what} holds NaN or infinity.", "Give it numbers.")
