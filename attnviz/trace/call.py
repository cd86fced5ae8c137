"""What one attention call leaves: its module, its record, and what was checked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from attnviz.trace.fidelity import UNCHECKED, Checks
from attnviz.trace.probe import ProbeResult
from attnviz.trace.records import LayerRecord

Source = Literal["exact", "dense", "refused"]


@dataclass(frozen=True)
class Call:
    """One attention call of one forward pass.

    Attributes:
        module: the attention module, or the module whose forward made the call.
        layer: the record, or None if refused.
        own: (B, n_q, H, d_v) the layer's own output, where it was seen and kept.
        source, reason: how the record was obtained, and why it is not exact.
        windows: how many windows each item was split into (then B counts windows).
        index: the layer, in the order in which layers first ran.
        checks: what was compared while recording.
        probe: the outputs of the layer's own function for random values in all rows, for a
            `LayerObserver`.
        run: which run of its module in the block this is, for modules that run several times.
    """

    module: nn.Module
    layer: LayerRecord | None
    own: Tensor | None
    source: Source
    reason: str = ""
    windows: int = 1
    index: int = -1
    checks: Checks = UNCHECKED
    probe: ProbeResult | None = None
    run: int = 0
