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
from attnviz.trace.call import Call
from attnviz.trace.record_parts import record_from_parts, record_to_parts

N_PREDICTIONS = 8
FORMAT = "1"

# Parts of a record that are words; all other strings name a tensor, or minus infinity.
_PLAIN = ("form", "masked_in")


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

    def save(name: str, tensor: Tensor) -> str:
        tensor = tensor.detach()[:1] if tensor.ndim == 4 else tensor.detach()
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in names:
            names[key] = name
            tensors[name] = tensor.cpu().contiguous().clone()
        return names[key]

    layers = []
    for layer in trace.layers:
        kept = None
        if layer.source != "refused":
            kept = _pack(record_to_parts(trace.layer_record(layer.index)), f"{layer.index}", save)
        layers.append({**asdict(layer), "kept": kept})
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


def _pack(parts: Any, prefix: str, save: Callable[[str, Tensor], str]) -> Any:
    """The parts of a record as JSON: a tensor becomes its name in the file."""
    if isinstance(parts, Tensor):
        return save(prefix, parts)
    if isinstance(parts, dict):
        return {name: _pack(part, f"{prefix}.{name}", save) for name, part in parts.items()}
    if isinstance(parts, list):
        prefix = prefix.removesuffix("s")  # "2.term0.lo" of the second layer's terms
        return [_pack(part, f"{prefix}{i}", save) for i, part in enumerate(parts)]
    return "-inf" if parts == -torch.inf else parts  # JSON has no infinity


def _call(layer: dict[str, Any], tensors: dict[str, Tensor]) -> Call:
    kept = layer["kept"]
    record = None if kept is None else record_from_parts(_unpack(kept, tensors))
    # the module no longer exists; a trace uses nothing of it but its name
    return Call(nn.Identity(), record, None, layer["source"], layer["reason"], layer["index"])


def _unpack(parts: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """The parts of a record, with their tensors."""
    if isinstance(parts, dict):
        return {name: _unpack(part, tensors, name) for name, part in parts.items()}
    if isinstance(parts, list):
        return [_unpack(part, tensors) for part in parts]
    if isinstance(parts, str) and name not in _PLAIN:
        return -torch.inf if parts == "-inf" else tensors[parts]
    return parts
