"""What of a head can be shown: each view as a labelled matrix, ready for a chart or a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from attnviz.charts import Palette, nice_domain

if TYPE_CHECKING:
    from attnviz.models.tokens import Token
    from attnviz.trace.attention_map import AttentionMap
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import AttentionLayer, Trace

WINDOW = 64  # positions a side; an Altair heatmap of more cells is slow to draw

# Each view's name, on the control, in links and in file names, and what it is.
VIEWS = {
    "Weights": "Softmax of the scores: how much of each key's value a query takes.",
    "Scores": "Scaled query · key products, biased and masked, before the softmax.",
    "Q": "Queries as they enter the product, after any rotation.",
    "K": "Keys as they enter the product, after any rotation.",
    "V": "Values.",
    "Output": "Weights @ V: what this head gives, before W_O.",
    "Residual": "Length of the residual stream's vector at each token, from the embedding on.",
}


@dataclass(frozen=True)
class Matrix:
    """Numbers with everything that a reader needs to read them."""

    values: np.ndarray  # (n_rows, n_cols) float32
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    row_title: str
    col_title: str
    value_title: str
    palette: Palette
    masked: np.ndarray | None = None
    domain: tuple[float, float] | None = None

    def csv(self) -> str:
        """The matrix with its labels; float32 survives the nine digits."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([f"{self.row_title} \\ {self.col_title}", *_numbered(self.cols)])
        for label, row in zip(_numbered(self.rows), self.values, strict=True):
            writer.writerow([label, *(f"{value:.9g}" for value in row)])
        return out.getvalue()


def matrix(
    trace: Trace, layer: AttentionLayer, head: int, view: str, rows: slice, cols: slice
) -> Matrix:
    """One view of one head, for a window of its rows and columns.

    Raises:
        AttnVizError: the layer holds no such thing, with the reason.
    """
    queries = labels(trace.row_tokens(layer.index)[rows])
    keys = labels(trace.col_tokens(layer.index)[cols])
    if view == "Residual":
        return _residual_norms(trace, layer, rows, queries)
    a = trace.attention(layer.index, head)
    if view in ("Weights", "Scores"):
        return _pairs(a, view, rows, cols, queries, keys)
    vectors: dict[str, tuple[Callable[[], Tensor], tuple[str, ...], str]] = {
        "Q": (lambda: a.q[rows], queries, "query"),
        "K": (lambda: a.k[cols], keys, "key"),
        "V": (lambda: a.v[cols], keys, "key"),
        "Output": (lambda: a.output(rows), queries, "query"),
    }
    read, names, title = vectors[view]
    values = _numpy(read())
    dimensions = tuple(str(i) for i in range(values.shape[1]))
    return Matrix(values, names, dimensions, title, "dimension", view, "diverging")


def _pairs(
    a: AttentionMap,
    view: str,
    rows: slice,
    cols: slice,
    queries: tuple[str, ...],
    keys: tuple[str, ...],
) -> Matrix:
    if view == "Scores":
        values = _numpy(a.scores(rows, cols))
        return Matrix(values, queries, keys, "query", "key", "score", "diverging")
    # A dense layer may keep its scores to itself; then nothing says which zeros were masked.
    masked = None if a.scaling is None else np.isneginf(_numpy(a.scores(rows, cols)))
    values = _numpy(a.weights(rows, cols))
    return Matrix(values, queries, keys, "query", "key", "weight", "sequential", masked)


def _residual_norms(
    trace: Trace, layer: AttentionLayer, rows: slice, names: tuple[str, ...]
) -> Matrix:
    kind = "decoder" if layer.kind == "cross" else layer.kind
    # At least one, so that a trace without a stream raises its own sentence.
    depths = range(max(trace.n_residuals(kind), 1))
    norms = [trace.residual(i, kind=kind)[rows].float().norm(dim=-1) for i in depths]
    values = np.stack([_numpy(n) for n in norms], axis=1)
    # A first token's norm is often a hundred times the others': colours end where most do.
    domain = nice_domain(np.quantile(values, [0.0, 0.95]), "sequential")
    blocks = ("embedding", *(f"block {i}" for i in depths[:-1]))
    return Matrix(values, names, blocks, "token", "after", "norm", "sequential", domain=domain)


def labels(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Token texts with white space made visible where it is all there is."""
    return tuple(visible(token.text) for token in tokens)


def visible(text: str) -> str:
    """White space that a person can see."""
    text = text.replace("\n", "↵").replace("\t", "⇥")
    return text if text.strip() else text.replace(" ", "␣") or "∅"


def summary(name: str, model: Model, trace: Trace) -> str:
    """A model in one line."""
    shown = next((layer for layer in trace.layers if layer.n_heads), trace.layers[0])
    grouped = shown.n_kv_heads != shown.n_heads
    heads = f"{shown.n_heads} heads" + (f" ({shown.n_kv_heads} key/value)" if grouped else "")
    number = str(model.dtype).removeprefix("torch.")
    return f"{name} · {len(trace.layers)} layers of {heads} · {number} on {model.device}"


def verdict(
    layer: AttentionLayer, check: Fidelity
) -> tuple[str, Literal["green", "orange", "red"], str]:
    """What is known about a layer's map: a word, its colour, and a sentence."""
    if layer.source == "refused":
        return "refused", "red", f"This layer cannot be shown: {layer.reason}."
    if not check.passed:
        return (
            "not exact",
            "red",
            f"Recomputed, this layer differs from its own output by {check.error:.1e}; "
            f"up to {check.tolerance:.1e} would be rounding. Do not trust its map.",
        )
    if layer.source == "dense":
        return "dense", "orange", f"These are the module's own weights: {layer.reason}."
    return (
        "exact",
        "green",
        f"Recomputed from Q, K and V, at most {check.error:.1e} from the layer's own output "
        f"(up to {check.tolerance:.1e} is rounding).",
    )


def _numbered(names: tuple[str, ...]) -> list[str]:
    return [name if name == str(i) else f"{i} {name}" for i, name in enumerate(names)]


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
