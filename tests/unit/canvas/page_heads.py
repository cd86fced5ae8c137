"""Heads of every kind, as a page holds them, with the backend's numbers: the truth of tests/js.

python -m tests.unit.canvas.page_heads      # writes tests/js/heads.json
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnviz.canvas.page_layers import layer_numbers
from attnviz.canvas.tensor_store import Storage, TensorStore
from attnviz.errors import AttnVizError
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.edited import EditedRecord, HeadChange
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import LayerRecord, QKVRecord, WeightsRecord
from attnviz.trace.terms import DenseTerm, IntervalMask, RelativeBias, causal

FILE = Path(__file__).parents[2] / "js" / "heads.json"
N, D, D_V, H = 7, 5, 3, 4
LOWEST = torch.finfo(torch.float32).min


def records() -> dict[str, LayerRecord]:
    """One layer of each kind there is."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    def layer(modifiers: ScoreModifiers, n_q: int = N, n_k: int = N, kv: int = H) -> QKVRecord:
        q, k, v = normal(1, H, n_q, D) * 3, normal(1, kv, n_k, D), normal(1, kv, n_k, D_V)
        return QKVRecord(q, k, v, modifiers)

    i = torch.arange(N)
    window = IntervalMask((i - 2).clamp_min(0)[None], (i + 1)[None], -torch.inf)
    blind = IntervalMask(torch.zeros_like(i)[None], torch.where(i == 2, 0, i + 1)[None], LOWEST)
    inside = IntervalMask(
        torch.zeros_like(i)[None], torch.where(i == 2, 0, i + 1)[None], -torch.inf
    )
    padding = torch.zeros(1, 1, 1, N)
    padding[..., -2:] = LOWEST
    checkered = torch.zeros(1, H, N, N).masked_fill((i[:, None] + i) % 3 == 1, -1e9)
    later = torch.where(torch.arange(2 * N - 1) < N, 0.5, -1e9)[None, None]
    mild = torch.zeros(1, 1, N, N).masked_fill(i[:, None] < i, -100.0)
    strong = layer(ScoreModifiers(4.0, terms=(DenseTerm(mild, -100.0),)))
    half = ScoreModifiers(0.5, terms=(blind,), mask_dtype=torch.float16)
    plain = layer(ScoreModifiers(0.5, terms=(causal(N),)))
    changes = (HeadChange(1, temperature=2.0, blocked=((4, 1),)), HeadChange(2, factor=0.5))
    weights = normal(1, H, N, N).softmax(-1)
    return {
        "full": layer(ScoreModifiers(D**-0.5)),
        "causal, grouped queries": layer(ScoreModifiers(0.5, terms=(causal(N),)), kv=2),
        "one key/value head": layer(ScoreModifiers(0.5, terms=(causal(N),)), kv=1),
        "continued text": layer(ScoreModifiers(0.5, terms=(causal(3, 4),)), n_q=3),
        "window": layer(ScoreModifiers(0.5, terms=(window,))),
        "sinks": layer(ScoreModifiers(0.5, terms=(causal(N),), sinks=normal(H))),
        "sinks of each row": layer(ScoreModifiers(0.5, sinks=normal(1, H, N, 1))),
        "sinks that gate": layer(
            ScoreModifiers(0.5, terms=(causal(N),), sinks=normal(H), sink_gates_output=True)
        ),
        "softcap": layer(ScoreModifiers(1.0, softcap=3.0, terms=(causal(N),))),
        "relative bias": layer(
            ScoreModifiers(1.0, terms=(RelativeBias(normal(1, H, 2 * N - 1), N),))
        ),
        "relative mask": layer(ScoreModifiers(1.0, terms=(RelativeBias(later, N, -1e9),))),
        "dense bias and causal": layer(
            ScoreModifiers(0.5, terms=(DenseTerm(normal(1, H, N, N)), causal(N)))
        ),
        "dense mask, a fill that absorbs": layer(
            ScoreModifiers(0.5, terms=(DenseTerm(checkered, -1e9),))
        ),
        "causal and padding, both with the lowest number": layer(
            ScoreModifiers(
                0.5, terms=(causal_filled(), DenseTerm(padding, LOWEST))
            )
        ),
        "a row that sees nothing, filled": layer(ScoreModifiers(0.5, terms=(blind,))),
        "a row that sees nothing": layer(ScoreModifiers(0.5, terms=(inside,))),
        "a row that sees nothing, in half precision": layer(half),
        "a mild fill that some keys survive": strong,
        "cross-attention": layer(ScoreModifiers(0.5), n_q=4),
        "dense layer": WeightsRecord(weights, v=normal(1, H, N, D_V)),
        "dense layer with scores": WeightsRecord(
            weights, weights.log(), normal(1, H, N, D), normal(1, H, N, D), normal(1, H, N, D_V)
        ),
        "edited": EditedRecord(plain, changes),
        "pattern set by hand": EditedRecord(plain, (HeadChange(0, pattern=torch.eye(N)),)),
    }  # fmt: skip


def causal_filled() -> IntervalMask:
    """Causal, with the lowest number instead of -inf."""
    term = causal(N)
    return IntervalMask(term.lo, term.hi, LOWEST)


def fixture(storage: Storage = "float32") -> dict[str, Any]:
    """Layers as a page holds them, and what the backend computes of their heads."""
    store = TensorStore()
    layers, expected = [], []
    for i, (name, record) in enumerate(records().items()):
        numbers, _ = layer_numbers(store, record, 0, slice(0, H), storage)
        layers.append({"index": i, "title": name, "source": "exact", **numbers})
        expected.append([_numbers(AttentionMap(record, h)) for h in range(H)])
    return {"layers": layers, "blobs": store.blobs, "expected": expected}


def _numbers(a: AttentionMap) -> dict[str, Any]:
    """A head's own; null for -inf."""
    masked = a.masked()
    return {
        "weights": _listed(a.weights()),
        "scores": _known(a.scores),
        "masked": None if masked is None else masked.int().tolist(),
        "output": _known(a.output),
    }


def _known(compute: Any) -> Any:
    try:
        return _listed(compute())
    except AttnVizError:
        return None


def _listed(t: Tensor) -> list[list[float | None]]:
    return [[float(f"{x:.9g}") if math.isfinite(x) else None for x in row] for row in t.tolist()]


if __name__ == "__main__":
    FILE.write_text(json.dumps(fixture()), encoding="utf-8")
