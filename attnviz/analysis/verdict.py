"""What a fidelity check says about a layer's map, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.trace import AttentionLayer


def verdict(
    layer: AttentionLayer, check: Fidelity
) -> tuple[str, Literal["green", "orange", "red"], str]:
    """What is known about a layer's map: a word, its color, and a sentence."""
    if layer.source == "refused":
        return "refused", "red", f"This layer cannot be shown: {layer.reason}."
    if not check.passed:
        return "not exact", "red", _failure(check)
    rows = (
        f"all {check.total_rows:,} rows"
        if check.rows == check.total_rows
        else f"{check.rows:,} of {check.total_rows:,} rows"
    )
    if layer.source == "dense":
        return (
            "dense",
            "orange",
            f"These are the module's own weights: {layer.reason}. In {rows} they give the layer's "
            f"output to within {check.error:.1e}.",
        )
    return (
        "exact",
        "green",
        f"Recomputed from Q, K and V, in {rows}: at most {check.error:.1e} from the layer's own "
        f"output and {check.weights_error or 0.0:.1e} from its own weights "
        f"(up to {check.tolerance:.1e} is rounding).",
    )


def _failure(check: Fidelity) -> str:
    """Why a check failed."""
    if check.weights_error is None and check.error <= check.tolerance:
        return "This layer's weights could not be checked against its own. Do not trust its map."
    if math.isnan(check.error):
        return "There is nothing to check this layer's map against. Do not trust it."
    if check.error <= check.tolerance:
        return (
            f"The weights shown differ from the layer's own by {check.weights_error:.1e}; up to "
            f"{check.weights_tolerance:.1e} would be rounding. Do not trust its map."
        )
    return (
        f"Recomputed, this layer differs from its own output by {check.error:.1e}; up to "
        f"{check.tolerance:.1e} would be rounding. Do not trust its map."
    )
