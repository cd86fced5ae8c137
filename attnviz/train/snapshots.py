"""Snapshots: the probe's attention at one step, saved as Q, K, V and modifiers, read as a trace.

    snapshot = snapshots.read(job.snapshots()[-1])
    snapshot.trace.attention(layer=1, head=2).weights()      # (n_q, n_k), as from a live trace

One safetensors file a step, of size O(n) (unless a layer could not be recomputed, whose weights are
saved instead). The header describes the tensors. A tensor that layers share, often a mask, is
saved once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attnviz.errors import AttnVizError
from attnviz.models import limits
from attnviz.models.tokens import Token
from attnviz.trace import Prediction, Trace
from attnviz.trace.compute import LayerRecord, QKVRecord, WeightsRecord
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.recorder import Call
from attnviz.trace.terms import Term

N_PREDICTIONS = 8
FORMAT = "1"

# The dtypes in which a mask may be added, by the names in the header.
_MASK_DTYPES = {None: None} | {str(t): t for t in (torch.float16, torch.bfloat16)}


@dataclass(frozen=True)
class Snapshot:
    """The probe at one step.

    Attributes:
        step: the number of steps before it.
        trace: tokens, layers and attention, without residual stream and logits.
        predictions: the likeliest next tokens (masked tokens, classes).
    """

    step: int
    trace: Trace
    predictions: tuple[Prediction, ...]


def path_of(folder: Path, step: int) -> Path:
    """The file of a step's snapshot, in a job's folder."""
    return folder / "snapshots" / f"step-{step:07d}.safetensors"


def step_of(path: Path) -> int:
    """The step in the name of a snapshot or checkpoint."""
    return int(path.name.removeprefix("step-").split(".")[0])


def write(path: Path, step: int, trace: Trace) -> None:
    """Writes a trace's attention to a file, atomically."""
    tensors: dict[str, Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}

    def save(name: str, tensor: Tensor | None) -> str | None:
        if tensor is None:
            return None
        tensor = tensor.detach()[:1] if tensor.ndim == 4 else tensor.detach()
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in names:
            names[key] = name
            tensors[name] = tensor.cpu().contiguous().clone()
        return names[key]

    layers = []
    for layer in trace.layers:
        record = None if layer.source == "refused" else trace.layer_record(layer.index)
        layers.append({**asdict(layer), "kept": _pack(record, f"{layer.index}", save)})
    header = {
        "step": step,
        "layers": layers,
        "tokens": [asdict(token) for token in trace.tokens],
        "target_tokens": [asdict(token) for token in trace.target_tokens],
        "predictions": [asdict(p) for p in _predictions(trace)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".draft-{path.name}")
    try:
        save_file(tensors, draft, {"format": FORMAT, "snapshot": json.dumps(header)})
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read(path: Path) -> Snapshot:
    """The snapshot in a file.

    Raises:
        AttnVizError: it is not a snapshot, or it is damaged.
    """
    try:
        limits.require_memory(path.stat().st_size, f"The snapshot {path.name}")
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["snapshot"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        layers = header["layers"]
        if not layers:
            raise ValueError("it holds no layers")
        calls = [_call(layer, tensors) for layer in layers]
        trace = Trace(
            calls=calls,
            names=[layer["name"] for layer in layers],
            kinds=[layer["kind"] for layer in layers],
            axes=[(layer["rows"], layer["cols"]) for layer in layers],
            tokens=tuple(Token(**token) for token in header["tokens"]),
            target_tokens=tuple(Token(**token) for token in header["target_tokens"]),
        )
        predictions = tuple(Prediction(**p) for p in header["predictions"])
        return Snapshot(header["step"], trace, predictions)
    except AttnVizError:
        raise
    except Exception as error:  # a damaged file can fail anywhere
        raise AttnVizError(
            f"The snapshot {path.name} cannot be read: {error}.", "Choose another step."
        ) from error


def _predictions(trace: Trace) -> tuple[Prediction, ...]:
    try:
        return trace.predictions(k=N_PREDICTIONS)
    except AttnVizError:  # a model without a head
        return ()


def _pack(
    layer: LayerRecord | None, prefix: str, save: Callable[[str, Tensor | None], str | None]
) -> dict[str, Any] | None:
    """What the header says of a layer: names of its saved tensors, and its plain values."""
    if layer is None:
        return None
    if isinstance(layer, WeightsRecord):
        parts = {"values": layer.values, "made_of": layer.raw_scores}
        parts |= {"q": layer.q, "k": layer.k, "v": layer.v}
        return {"form": "pattern"} | {
            name: save(f"{prefix}.{name}", t) for name, t in parts.items()
        }
    if not isinstance(layer, QKVRecord):
        raise AttnVizError("An edited trace is not kept as a snapshot.", "Trace without edits.")
    modifiers = layer.modifiers
    return {
        "form": "products",
        **{part: save(f"{prefix}.{part}", getattr(layer, part)) for part in ("q", "k", "v")},
        "scaling": modifiers.scaling,
        "softcap": modifiers.softcap,
        "sinks": save(f"{prefix}.sinks", modifiers.sinks),
        "sink_gates_output": modifiers.sink_gates_output,
        "masked_in": None if modifiers.mask_dtype is None else str(modifiers.mask_dtype),
        "terms": [_pack_term(t, f"{prefix}.term{i}", save) for i, t in enumerate(modifiers.terms)],
    }


def _pack_term(
    term: Term, prefix: str, save: Callable[[str, Tensor | None], str | None]
) -> dict[str, Any]:
    kept: dict[str, Any] = {"form": term.form}
    for name, part in term.parts().items():
        if isinstance(part, Tensor):
            part = save(f"{prefix}.{name}", part)
        elif part == -torch.inf:
            part = "-inf"  # JSON has no infinity
        kept[name] = part
    return kept


def _call(layer: dict[str, Any], tensors: dict[str, Tensor]) -> Call:
    record = _unpack(layer["kept"], tensors)
    # the module no longer exists; a trace uses nothing of it but its name
    return Call(nn.Identity(), record, None, layer["source"], layer["reason"], layer["index"])


def _unpack(kept: dict[str, Any] | None, tensors: dict[str, Tensor]) -> LayerRecord | None:
    if kept is None:
        return None

    def tensor(name: str | None) -> Tensor | None:
        return None if name is None else tensors[name]

    if kept["form"] == "pattern":
        raw_scores, q, k, v = (tensor(kept[part]) for part in ("made_of", "q", "k", "v"))
        return WeightsRecord(tensors[kept["values"]], raw_scores, q, k, v)
    modifiers = ScoreModifiers(
        kept["scaling"],
        kept["softcap"],
        tuple(_unpack_term(term, tensors) for term in kept["terms"]),
        tensor(kept["sinks"]),
        kept["sink_gates_output"],
        _MASK_DTYPES[kept.get("masked_in")],
    )
    return QKVRecord(tensors[kept["q"]], tensors[kept["k"]], tensors[kept["v"]], modifiers)


def _unpack_term(kept: dict[str, Any], tensors: dict[str, Tensor]) -> Term:
    parts = {name: part for name, part in kept.items() if name != "form"}
    for name, part in parts.items():
        if isinstance(part, str):
            parts[name] = -torch.inf if part == "-inf" else tensors[part]
    return Term.forms[kept["form"]](**parts)
