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
            f"The weights come from the module itself: {layer.reason}. They reproduce the layer's "
            f"output to within {check.error:.1e} in {rows}.",
        )
    return (
        "exact",
        "green",
        f"Verified: recomputing this layer gives the model's own output to within "
        f"{_short(check.error)} and its weights to within {_short(check.weights_error or 0.0)} "
        f"in {rows} (float rounding ≤ {_short(check.tolerance)}).",
    )


def _failure(check: Fidelity) -> str:
    """Why a check failed."""
    if check.weights_error is None and check.error <= check.tolerance:
        return "This layer's weights could not be compared with the model's. Don't trust this map."
    if math.isnan(check.error):
        return "Nothing is available to verify this layer's map against. Don't trust it."
    if check.error <= check.tolerance:
        return (
            f"The weights shown differ from the layer's own by {check.weights_error:.1e} (float "
            f"rounding ≤ {_short(check.weights_tolerance)}). Don't trust this map."
        )
    return (
        f"Recomputing this layer differs from the model's own output by {check.error:.1e} (float "
        f"rounding ≤ {_short(check.tolerance)}). Don't trust this map."
    )


def _short(number: float) -> str:
    """``6e-08`` as ``6e-8``: one digit, rounded up so that it is still a bound."""
    if not 0 < number < math.inf:
        return f"{number:g}"
    exponent = math.floor(math.log10(number))
    digit = math.ceil(number / 10.0**exponent * (1 - 1e-9))
    return f"1e{exponent + 1}" if digit == 10 else f"{digit}e{exponent}"
