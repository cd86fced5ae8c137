"""Interventions on attention, as plain values.

    from attnviz.edits import AblateHead
    trace = model.trace("The cat sat", edits=[AblateHead(layer=3, head=5)])

An edit names a layer (its index in ``trace.layers``) and a head; it acts while the model runs, so
everything behind it changes too, and the trace shows the edited layer as it was after the edit.

Several edits of one head act one after the other, at two places. ``BlockEdge``, ``Temperature`` and
``SetPattern`` change its weights; ``ScaleHead``, ``AblateHead`` and ``PatchHead`` its output, which
comes behind them. So ``ScaleHead`` then ``SetPattern`` gives the factor times the pattern @ V, as
the other order does, and a head whose output was ablated or patched keeps that output whatever
becomes of its weights.

Until a pattern is set, weights are changed by way of the scores: what is masked stays masked, and a
sink's share, or its gate on the output, follows. From then on the weights themselves are changed
and each row keeps its sum: ``BlockEdge`` takes an edge away and scales the row's others up,
``Temperature`` raises weights to 1 / temperature. A gate stays as the scores before the pattern
made it.

What an edit leaves alone keeps its bits: other heads, other rows of a blocked edge, and everything
where it changes nothing (a temperature or factor of 1, an edge that had no weight).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace.compute import QKVRecord
from attnviz.trace.edited import EditedRecord, HeadChange

__all__ = ["AblateHead", "BlockEdge", "PatchHead", "ScaleHead", "SetPattern", "Temperature"]

Layer = QKVRecord | EditedRecord


@dataclass(frozen=True)
class AblateHead:
    """Takes a head's output away.

    Attributes:
        mode: "zero", or "mean": each position gets the head's mean output over all positions, so
            that what the head always adds stays and what it says of the position goes.
    """

    layer: int
    head: int
    mode: Literal["zero", "mean"] = "zero"

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """What it changes of the layer, whose output is (B, n_q, H, d_v)."""
        _check_head(self.head, layer)
        if self.mode == "zero":
            return HeadChange(self.head, factor=0.0)
        if self.mode != "mean":
            raise AttnVizError(f"A head is not ablated by {self.mode!r}.", 'Use "zero" or "mean".')
        mean = output[:, :, self.head].mean(dim=1, keepdim=True)  # (B, 1, d_v)
        return HeadChange(self.head, output=mean)


@dataclass(frozen=True)
class ScaleHead:
    """Multiplies a head's output with a factor."""

    layer: int
    head: int
    factor: float

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """What it changes of the layer."""
        _check_head(self.head, layer)
        if not math.isfinite(self.factor):
            raise AttnVizError(
                f"A head is not scaled by {self.factor}.", "Give it a factor that is a number."
            )
        return HeadChange(self.head, factor=float(self.factor))


@dataclass(frozen=True)
class BlockEdge:
    """Lets a query not look at a key; the row's other weights share what becomes free.

    A row with no other weight becomes zeros.
    """

    layer: int
    head: int
    query: int
    key: int

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """What it changes of the layer."""
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

    A sink's score stays. Of a pattern that was set, it takes weights ** (1 / temperature).
    """

    layer: int
    head: int
    temperature: float

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """What it changes of the layer."""
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
    """Gives a head weights of one's own; from then on no scores lead to them.

    Attributes:
        weights: (n_q, n_k); rows need not sum to 1.
    """

    layer: int
    head: int
    weights: Tensor

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """What it changes of the layer."""
        _check_head(self.head, layer)
        _check_given(self.weights, layer.shape[2:], "pattern")
        return HeadChange(self.head, pattern=self.weights.detach().to(layer.q.device))


@dataclass(frozen=True, eq=False)
class PatchHead:
    """Puts another output in a head's place, e.g. that of the same head on another text.

    Attributes:
        output: (n_q, d_v), as ``other.attention(layer, head).output()`` gives it.
    """

    layer: int
    head: int
    output: Tensor

    def change(self, layer: Layer, output: Tensor) -> HeadChange:
        """What it changes of the layer."""
        _check_head(self.head, layer)
        _check_given(self.output, (output.shape[1], output.shape[3]), "output")
        return HeadChange(self.head, output=self.output.detach().to(output.device)[None])


def _check_head(head: int, layer: Layer) -> None:
    H = layer.shape[1]
    if not 0 <= head < H:
        raise AttnVizError(f"There is no head {head} to edit.", f"They run from 0 to {H - 1}.")


def _check_given(given: Tensor, wanted: tuple[int, ...] | torch.Size, what: str) -> None:
    if tuple(given.shape) != tuple(wanted):
        raise AttnVizError(
            f"The {what} has the shape {tuple(given.shape)}.",
            f"This text needs {tuple(wanted)}.",
        )
    if not bool(torch.isfinite(given).all()):
        raise AttnVizError(f"The {what} holds NaN or infinity.", "Give it numbers.")
