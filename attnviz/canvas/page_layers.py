"""The layers of a page: Q, K, V and score modifiers, O(n · d), or weights where those are all.

The browser computes what it can from them. What Q, K, V and the modifiers don't determine (layers
that are read as their own weights, heads that were edited, rows that see nothing in a model
that adds its masks in half precision) carries its weights, scores and output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attnviz.canvas.tensor_store import Codes, Storage, TensorStore
from attnviz.errors import AttnVizError
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import LayerRecord, QKVRecord, outputs, row_blocks
from attnviz.trace.terms import DenseTerm, IntervalMask, RelativeBias, Term

MAX_ERROR = 1e-3  # of a weight; a layer that 16 bits don't hold that well is kept in float32
CHECKED_ROWS = 64  # rows of a layer on which the error is measured
_CHECKED_BLOCKS = 8  # blocks of rows that a longer layer is checked in


@dataclass(frozen=True)
class StorageError:
    """How much 16-bit storage changes a layer's weights and outputs.

    Attributes:
        weights: the largest difference of a weight. output: of an output, relative to the
            largest number in it.
        rows, total_rows: how many rows it was measured on, and how many there are, in all layers.
    """

    weights: float = 0.0
    output: float = 0.0
    rows: int = 0
    total_rows: int = 0

    def __add__(self, other: StorageError) -> StorageError:
        return StorageError(
            max(self.weights, other.weights),
            max(self.output, other.output),
            self.rows + other.rows,
            self.total_rows + other.total_rows,
        )


def layer_numbers(
    store: TensorStore, record: LayerRecord, item: int, heads: slice, storage: Storage
) -> tuple[dict[str, Any], StorageError]:
    """What the browser computes a layer's heads from, and what 16 bits cost.

    Args:
        heads: the heads that the page has.
    """
    kv = record.kv_heads(heads)
    q, k, v = (
        None if t is None else t[item, of]
        for t, of in ((record.q, heads), (record.k, kv), (record.v, kv))
    )
    kept: tuple[Tensor | Codes | None, ...] = (q, k, v)
    computed = isinstance(record, QKVRecord) and _is_plain(record, item, heads)
    error = StorageError()
    # of a few heads there is little, and layers that carry weights have those anyway
    if storage == "16 bits" and computed and heads == slice(0, record.shape[1]):
        assert isinstance(record, QKVRecord)
        codes = tuple(Codes.of(t[item]) for t in (record.q, record.k, record.v))
        error = storage_error(record, item, codes)
        if error.weights <= MAX_ERROR:
            kept = codes
        else:
            error = replace(error, weights=0.0, output=0.0)
    n_q, n_k = record.shape[2:]
    numbers: dict[str, Any] = {
        "heads": heads.stop - heads.start,
        "firstHead": heads.start,
        "nQ": n_q,
        "nK": n_k,
        "d": 0 if q is None else q.shape[-1],
        "dV": 0 if v is None else v.shape[-1],
        "q": store.add(kept[0]),
        "k": store.add(kept[1]),
        "v": store.add(kept[2]),
        "scaling": None,
        "softcap": None,
        "terms": [],
        "sinks": None,
        "sinkGatesOutput": False,
        "weights": None,
        "scores": None,
        "output": None,
    }
    if computed:
        assert isinstance(record, QKVRecord)
        return numbers | _modifiers(store, record.modifiers, item, heads), error
    return numbers | _own_weights(store, record, item, heads), error


def _is_plain(record: QKVRecord, item: int, heads: slice) -> bool:
    """Whether the browser can compute the layer from Q, K, V and modifiers."""
    modifiers = record.modifiers
    if not all(isinstance(t, IntervalMask | DenseTerm | RelativeBias) for t in modifiers.terms):
        return False
    if modifiers.mask_dtype is None:
        return True
    n_q, n_k = record.shape[2:]
    for rows in row_blocks(n_q, n_k, heads.stop - heads.start):
        blind = modifiers.fully_masked_rows(item, heads, rows, n_k)
        if blind is not None and bool(blind.any()):
            return False  # those rows' weights come from what half precision leaves of the scores
    return True


def _modifiers(
    store: TensorStore, modifiers: ScoreModifiers, item: int, heads: slice
) -> dict[str, Any]:
    sinks = None if modifiers.sinks is None else modifiers.sink_scores(item, heads, slice(None))
    return {
        "scaling": float(modifiers.scaling),
        "softcap": None if modifiers.softcap is None else float(modifiers.softcap),
        "terms": [_term(store, term, item, heads) for term in modifiers.terms],
        "sinks": None if sinks is None else store.add(sinks[..., 0]),  # (H, n_q or 1)
        "sinkGatesOutput": modifiers.sink_gates_output,
    }


def _term(store: TensorStore, term: Term, item: int, heads: slice) -> dict[str, Any]:
    if isinstance(term, IntervalMask):
        lo, hi = term.visible_ranges(item)
        return {
            "form": "interval",
            "lo": store.add(lo),
            "hi": store.add(hi),
            "fill": _finite(term.fill),
        }
    assert isinstance(term, DenseTerm | RelativeBias)
    values = term.values if isinstance(term, DenseTerm) else term.by_distance
    values = values[min(item, len(values) - 1)]
    values = values if len(values) == 1 else values[heads]
    # in JSON -inf would be null, as None is: the lowest number masks the same cells
    lowest = None if term.masked_from is None else max(term.masked_from, -1e300)
    return {"form": term.form, "values": store.add(values), "maskedFrom": lowest}


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _own_weights(
    store: TensorStore, record: LayerRecord, item: int, heads: slice
) -> dict[str, Any]:
    """A layer that carries its weights: (H, n_q, n_k) float32, and what else is known of it."""
    n_q, n_k = record.shape[2:]
    rows = slice(0, n_q)
    found: dict[str, Any] = {
        "weights": store.add(record.weights(item, heads, rows, 0, n_k)),
        "scaling": record.scaling,
    }
    scores = [_shown_scores(record, item, slice(h, h + 1)) for h in range(heads.start, heads.stop)]
    if any(s is not None for s in scores):
        unknown = torch.full((1, n_q, n_k), torch.nan)
        found["scores"] = store.add(torch.cat([unknown if s is None else s.cpu() for s in scores]))
    if record.v is not None:
        found["output"] = store.add(outputs(record, item, heads, rows))
    return found


def _shown_scores(record: LayerRecord, item: int, head: slice) -> Tensor | None:
    """(1, n_q, n_k): a head's scores, -inf where masked; None where they are not known."""
    n_q, n_k = record.shape[2:]
    rows, cols = slice(0, n_q), slice(0, n_k)
    try:
        scores = record.scores(item, head, rows, cols)
    except AttnVizError:  # they stay inside the module, or the weights were set by an edit
        return None
    masked = record.masked(item, head, rows, cols)
    return scores.float() if masked is None else scores.float().masked_fill(masked, -torch.inf)


def storage_error(record: QKVRecord, item: int, codes: tuple[Codes, ...]) -> StorageError:
    """How much 16-bit codes change a layer's weights and outputs, on up to ``CHECKED_ROWS`` rows.

    Args:
        codes: of q, k and v.
    """
    _, H, n_q, _ = record.shape
    heads = slice(0, H)
    q, k, v = (  # modifiers count items
        c.decode().to(record.device).expand(item + 1, -1, -1, -1) for c in codes
    )
    rounded = replace(record, q=q, k=k, v=v)
    checked = _spread_rows(n_q)
    weights = output = 0.0
    for rows in checked:
        lo, hi = record.key_range(item, rows)
        apart = record.weights(item, heads, rows, lo, hi)
        apart = apart - rounded.weights(item, heads, rows, lo, hi)
        weights = max(weights, float(apart.abs().max()))
        out = outputs(record, item, heads, rows)
        moved = (out - outputs(rounded, item, heads, rows)).abs().max()
        output = max(output, float(moved / out.abs().max().clamp_min(1e-30)))
    return StorageError(weights, output, sum(r.stop - r.start for r in checked), n_q)


def _spread_rows(n_q: int) -> list[slice]:
    """All rows of a short text, else blocks from the first row to the last."""
    if n_q <= CHECKED_ROWS:
        return [slice(0, n_q)]
    long = CHECKED_ROWS // _CHECKED_BLOCKS
    starts = [(n_q - long) * i // (_CHECKED_BLOCKS - 1) for i in range(_CHECKED_BLOCKS)]
    return [slice(i, i + long) for i in starts]
