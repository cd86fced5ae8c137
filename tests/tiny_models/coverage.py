"""What a trace makes of one tiny model, and whether that is right.

The truth comes from a second model with the same weights that runs transformers' eager attention:
the weights that it returns (`output_attentions`), and the softmaxes that its attention modules
compute. A trace's layer must equal one of them, and each returned matrix must be in the trace.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

import attnviz
from attnviz.trace import Trace
from tests.tiny_models import TinyType, build
from tests.tiny_models.exceptions import OTHER_MIXING
from tests.tiny_models.truth import Truth, eager_truth, flat, run, swayed

# Two correct ways to compute float32 attention over two layers of width 32 differ by some 1e-6.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Row:
    """One type's row of the coverage table.

    Attributes:
        verdict: the worst source of its softmax attention, or "none" if it has none.
        layers: how many attention layers of each kind. sources: how many of each source.
        error: largest difference of any weight from the eager model's; None if none is shown.
        note: reasons of layers that are not exact. problems: what is wrong; none may be.
    """

    tiny: TinyType
    verdict: str
    layers: str
    sources: str
    error: float | None
    note: str
    problems: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The row's cells that stay the same on every machine."""
        tiny = self.tiny
        return (tiny.model_type, tiny.class_name, self.verdict, self.layers, self.sources)


def examine(tiny: TinyType) -> Row:
    """Traces a tiny model and compares with the truth."""
    module, inputs = build(tiny)
    run(
        module, inputs
    )  # some types settle at their first call: BigBird leaves its sparse layout for short inputs
    problems: list[str] = []
    before = _state(module)
    given: list[dict[str, Any]] = []
    outputs: list[Any] = []

    def note(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        given.append(kwargs)
        outputs.append(output)

    handle = module.register_forward_hook(note, with_kwargs=True)
    torch.manual_seed(0)
    trace = attnviz.wrap(module).trace(inputs=inputs, keep=("qkv", "residual", "logits"))
    handle.remove()
    if _state(module) != before:
        problems.append("the trace changed the module")
    recorded, plain = list(flat(outputs[0])), list(flat(run(module, given[0])))
    if len(recorded) != len(plain) or not all(map(_same, recorded, plain)):
        problems.append("the output differs from that of a forward pass without recording")

    compared = _compared(trace, tiny, eager_truth(tiny))
    problems += compared.problems
    for fidelity in trace.fidelity():
        if trace.layers[fidelity.layer].source == "exact" and not fidelity.passed:
            problems.append(f"layer {fidelity.layer} fails its own receipt by {fidelity.error:.1e}")
    paths = {name for name, _ in module.named_modules()}
    problems += [f"{layer.name} is no module" for layer in trace.layers if layer.name not in paths]
    shown = [layer.source for layer in trace.layers if layer.source != "refused"]
    if tiny.model_type in OTHER_MIXING:
        verdict = "none"
        if shown:
            problems.append("shows attention, though listed as having none")
    elif not trace.layers:
        verdict = "refused"
        problems.append("shows no layers")
    elif compared.missing or not shown:
        verdict = "refused"
    else:
        verdict = "dense" if "dense" in shown else "exact"
    reasons = dict.fromkeys(layer.reason for layer in trace.layers if layer.reason)
    return Row(
        tiny,
        verdict,
        _counted(layer.kind for layer in trace.layers),
        _counted(layer.source for layer in trace.layers),
        max(compared.errors, default=None),
        OTHER_MIXING.get(tiny.model_type, "; ".join(reasons)),
        tuple(problems),
    )


@dataclass
class _Comparison:
    """A trace against the truth: each shown layer's error, what is missing, what is wrong."""

    errors: list[float]
    missing: list[str]
    problems: list[str]


def _compared(trace: Trace, tiny: TinyType, truth: Truth) -> _Comparison:
    found = _Comparison([], [], [])
    left = [(kind, weights) for kind, tensors in truth.returned.items() for weights in tensors]
    unseen = list(truth.softmaxes)
    told: set[str] = set()  # modules whose returned weights have been found
    for layer in trace.layers:
        place = f"layer {layer.index} ({layer.name}, {layer.kind})"
        if layer.source not in ("exact", "dense", "refused"):
            found.problems.append(f"{place} has the source {layer.source!r}")
        if layer.source != "exact" and not layer.reason:
            found.problems.append(f"{place} is {layer.source} without a reason")
        if layer.source == "refused":
            continue
        weights = weights_of(trace, layer.index)
        near = [(_distance(weights, t), k in ("", layer.kind), i) for i, (k, t) in enumerate(left)]
        fits = [(error, i) for error, of_kind, i in near if error <= TOLERANCE and of_kind]
        # a layer that attends over two inputs at once is returned in two parts
        whole = [i for _, i in sorted(fits) if left[i][1].numel() >= weights.numel()][:1]
        parts = [
            i
            for i, (e, _, _) in enumerate(near)
            if e <= TOLERANCE and left[i][1].numel() < weights.numel()
        ]
        own = [(_distance(weights, t), i) for i, (_, t) in enumerate(unseen)]
        error, nearest = min(own, default=(float("inf"), -1))
        if error <= TOLERANCE:
            del unseen[nearest]
        best = min([error, *(near[i][0] for i in [*whole, *parts])])
        if whole or parts:
            told.add(layer.name)
        elif layer.name in told and best <= TOLERANCE:
            found.problems.append(f"{place} is shown again, though the eager model returns it once")
        if not best <= TOLERANCE and "sparse" in layer.reason:  # returned in a layout of its own
            best = _distance(weights, swayed(tiny, layer.name, layer.n_heads))
            whole = [i for i, (kind, _) in enumerate(left) if kind in ("", layer.kind)][:1]
            unseen = [(path, w) for path, w in unseen if path != layer.name]
        for i in sorted({*whole, *parts}, reverse=True):
            del left[i]
        found.errors.append(best)
        if not best <= TOLERANCE:
            hint = min([e for e, _, _ in near] + [error])
            shape = tuple(weights.shape)
            found.problems.append(
                f"{place}, {layer.source}, {shape} is off by {hint:.1e} or of another kind"
            )
    if truth.returned:
        found.missing = [f"{kind or 'any'} {tuple(t.shape)}" for kind, t in left]
    else:
        found.missing = [f"softmax {tuple(t.shape)}" for _, t in unseen]
    found.problems += _misplaced(trace, truth.softmaxes)
    if found.missing and not any(layer.source == "refused" for layer in trace.layers):
        found.problems.append(f"no layer shows the eager model's {', '.join(found.missing)}")
    return found


def _misplaced(trace: Trace, softmaxes: list[tuple[str, Tensor]]) -> list[str]:
    """Layers that are pieces of a module's attention, or that refuse what another layer shows."""
    problems: list[str] = []
    shapes: dict[str, set[tuple[int, int]]] = {}
    for layer in trace.layers:
        shapes.setdefault(layer.name, set()).add((layer.n_q, layer.n_k))
    for name, different in shapes.items():
        if len(different) > 1:
            problems.append(f"{name} comes in pieces, each shown as a layer: {sorted(different)}")
    shown = sum(layer.source != "refused" for layer in trace.layers)
    for layer in trace.layers:
        computes = any(name and f"{layer.name}.".startswith(f"{name}.") for name, _ in softmaxes)
        if layer.source == "refused" and computes and shown >= len(softmaxes):
            problems.append(f"{layer.name} is refused, and shown as another layer as well")
    return problems


def weights_of(trace: Trace, index: int) -> Tensor:
    """(items, H, n_q, n_k): all weights of a layer, in the trace."""
    layer = trace.layers[index]
    heads = range(layer.n_heads)
    return torch.stack(
        [
            torch.stack([trace.attention(index, head, item=item).weights() for head in heads])
            for item in range(layer.n_items)
        ]
    )


def _distance(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, if theirs can be read as ours, without a sink's column at its end."""
    if theirs.dim() == 5:  # (B, H, windows, n_q, n_k): a trace's items are windows
        theirs = theirs.transpose(1, 2).flatten(0, 1)
    rows, cols = theirs.shape[-2:]
    if cols == ours.shape[-1] + 1:
        theirs = theirs[..., :-1]
    elif theirs.dim() == 4 and (cols < ours.shape[-1] or rows < ours.shape[-2]):
        parts = [ours[..., -rows:, :cols], ours[..., -rows:, -cols:]]
        fitting = [part for part in parts if part.shape[-2:] == (rows, cols)]
        return min((_distance(part, theirs) for part in fitting), default=float("inf"))
    if theirs.shape[-2:] != ours.shape[-2:] or theirs.numel() != ours.numel():
        return float("inf")
    return float((ours - theirs.reshape(ours.shape)).abs().max())


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items()) or "none"


def _state(module: PreTrainedModel) -> tuple[Any, ...]:
    """All that a trace may not change: implementations, modes, hooks, weights."""
    configs = [
        part.config
        for part in module.modules()
        if isinstance(getattr(part, "config", None), PreTrainedConfig)
    ]
    digest = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    hooks = [len(p._forward_hooks) + len(p._forward_pre_hooks) for p in module.modules()]
    return (
        [config._attn_implementation for config in configs],
        [repr(config) for config in configs],
        [part.training for part in module.modules()],
        hooks,
        [parameter.requires_grad for parameter in module.parameters()],
        digest.hexdigest(),
    )


@dataclass(frozen=True)
class Shares:
    """Totals over model types; a type's verdict is the worst of its classes'."""

    types: int
    with_attention: int
    exact: float
    shown: float


def shares(verdicts: Iterable[tuple[str, str]]) -> Shares:
    """The totals of (model type, verdict) pairs."""
    order = ("none", "exact", "dense", "refused")
    worst: dict[str, str] = {}
    for model_type, verdict in verdicts:
        worst[model_type] = max(worst.get(model_type, "none"), verdict, key=order.index)
    counts = Counter(worst.values())
    attention = len(worst) - counts["none"]
    shown = counts["exact"] + counts["dense"]
    return Shares(len(worst), attention, counts["exact"] / attention, shown / attention)
