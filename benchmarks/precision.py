"""How far the weights of exact layers lie from what the layers computed, in float64 and in float32.

    python -m benchmarks.precision [part of a name ...]

Two correct computations differ by rounding alone, so they agree the more the finer the numbers are:
a misread mask, scale or bias is off as much in float64 as in float32. Each tiny model of
docs/coverage.md is run in float64, where each exact layer's own function is given random values and
what it makes of them is compared with what the trace's weights make of them (its receipt's
``weights_error``). The float32 trace is then held against the float64 one: that is the rounding of
all that the model computes before. Takes some minutes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import torch

import attnviz
from attnviz.trace import Model, Trace
from benchmarks.figure import Figure, show
from tests.tiny_models import TYPES, build
from tests.tiny_models.coverage import weights_of
from tests.tiny_models.truth import run

TITLE = "Weights of exact layers against float64"
EXACT, ROUNDED = 1e-12, 1e-4
# Tokens that repeat have scores equal but for rounding, which a softmax then tells apart.
REPEATED = "the same words and " * 60
_REFUSALS = (RuntimeError, TypeError, ValueError, IndexError, AttributeError)


def measure(names: Sequence[str] = ()) -> list[Figure]:
    """The largest differences over all tiny models whose name has one of these in it."""
    proven: list[tuple[float, str]] = []
    rounded: list[tuple[float, str]] = []
    unable, coarse = 0, 0
    for tiny in TYPES:
        if names and not any(name in tiny.name for name in names):
            continue
        try:
            fine = _traced(*build(tiny, dtype=torch.float64))
        except _REFUSALS:  # its own code insists on float32
            unable += 1
            continue
        found = [f for f in fine.fidelity() if f.source == "exact" and f.weights_error is not None]
        if build(tiny)[0].config._attn_implementation == "eager":
            coarse += len(
                found
            )  # transformers' step-by-step softmax is in float32 whatever is asked
        else:
            proven += [(f.weights_error or 0.0, tiny.name) for f in found]
        rounded += [(apart, tiny.name) for apart in _apart(fine, _traced(*build(tiny)))]
    worst, where = max(proven, default=(float("nan"), "none"))
    off, there = max(rounded, default=(float("nan"), "none"))
    return [
        Figure(
            f"{len(proven)} layers in float64, asked with random values: largest difference",
            f"<= {EXACT:.0e}",
            f"{worst:.1e} ({where})",
            worst <= EXACT,
        ),
        Figure(
            f"weights of {len(rounded)} layers, float32 : float64: largest difference",
            f"<= {ROUNDED:.0e}",
            f"{off:.1e} ({there})",
            off <= ROUNDED,
        ),
        Figure("models that do not run in float64", "", f"{unable}"),
        Figure("layers whose own softmax is in float32", "", f"{coarse}"),
        *([] if names else [_smollm()]),
    ]


def _smollm() -> Figure:
    fine, plain = (
        attnviz.load("smollm2-135m", device="cpu", dtype=dtype).trace(REPEATED)
        for dtype in ("float64", "float32")
    )
    off = max(_apart(fine, plain))
    what = "SmolLM2-135M on a text that repeats itself, float32 : float64"
    return Figure(what, f"<= {ROUNDED:.0e}", f"{off:.1e}", off <= ROUNDED)


def _traced(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> Trace:
    run(module, inputs)  # BigBird leaves its sparse layout at the first short text
    model: Model = attnviz.wrap(module)
    torch.manual_seed(0)
    return model.trace(inputs=inputs)


def _apart(fine: Trace, coarse: Trace) -> list[float]:
    """The largest difference of a weight, for each layer that is exact in both."""
    return [
        float((weights_of(fine, a.index) - weights_of(coarse, b.index)).abs().max())
        for a, b in zip(fine.layers, coarse.layers, strict=True)
        if a.source == b.source == "exact"
    ]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    show(TITLE, lambda: measure(sys.argv[1:]))
