"""A whole trace as one HTML file: any head of any layer, computed exactly in the reader's browser.

    write_page(trace, "trace.html")

The file holds Q, K, V and the score modifiers of every layer, O(n · d), and the canvas's modules.
It opens offline, with no server and no model, and loads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attnviz.analysis.heads import HeadMetrics, all_baselines
from attnviz.analysis.prediction_text import heading, predicted_tokens
from attnviz.analysis.roles import describe, most_structured
from attnviz.canvas.bundle import Theme
from attnviz.canvas.grid import grid_payload
from attnviz.canvas.naming import layer_name, token_names
from attnviz.canvas.page_file import FLOAT32_NOTE, layer_entry, page_file, receipt_entry, text_entry
from attnviz.canvas.page_image import image_entry
from attnviz.canvas.page_layers import StorageError, layer_numbers
from attnviz.canvas.strip import text_sections, token_helps
from attnviz.canvas.tensor_store import Storage, TensorStore
from attnviz.errors import AttnVizError
from attnviz.models.tokens import display_text

if TYPE_CHECKING:
    from attnviz.trace import AttentionLayer, Trace

StorageChoice = Literal["auto", "float32", "16 bits"]

# Numbers up to which "auto" keeps float32: 8 MB, 11 in base64.
FLOAT32_UP_TO = 2_000_000
MAX_PREDICTIONS = 512  # positions whose predictions a page has
PREDICTIONS = 5  # of each position
TITLE_LETTERS = 80


def write_page(trace: Trace, path: str | Path, **options: Any) -> Path:
    """Writes ``page_html(trace, **options)`` to a file."""
    path = Path(path)
    path.write_text(page_html(trace, **options), encoding="utf-8")
    return path


def page_html(
    trace: Trace,
    *,
    title: str = "",
    storage: StorageChoice = "auto",
    theme: Theme = "system",
    image: Any | None = None,
    selected: tuple[int, int] | None = None,
    item: int = 0,
) -> str:
    """A trace as one HTML page.

    Args:
        title: of the page, such as the model's name.
        storage: "float32" computes what the backend computes (in double precision, from the same
            numbers); "16 bits" is half as large, and the page says what that costs. "auto" takes
            float32 for up to 2 million numbers (SmolLM2: 69 tokens).
        theme: of colors; by default as the reader's system has it.
        image: for a trace without its image, the picture that the patches cover: anything Pillow
            opens. A trace of an image has it.
        selected: (layer, head) shown first; by default the most structured one.
        item: which text of a batch.

    Raises:
        AttnVizError: no such item or head, or an image that can't be read.
    """
    contents = _Contents(trace, item, _storage(trace, storage, item))
    index = contents.index(title, image, selected)
    return page_file(index, contents.store, theme)


def _storage(trace: Trace, choice: StorageChoice, item: int) -> Storage:
    if choice != "auto":
        return choice
    return "float32" if n_numbers(trace, item) <= FLOAT32_UP_TO else "16 bits"


def n_numbers(trace: Trace, item: int = 0) -> int:
    """How many numbers of Q, K and V (or weights) a page of the trace holds."""
    total = 0
    for layer in trace.layers:
        if layer.source == "refused" or item >= layer.n_items:
            continue
        record = trace.layer_record(layer.index, item)
        arrays = [t for t in (record.q, record.k, record.v) if t is not None]
        total += sum(t[item].numel() for t in arrays)
        if layer.source == "dense":
            total += layer.n_heads * layer.n_q * layer.n_k
    return total


@dataclass
class _Contents:
    """A page's index and arrays, put together."""

    trace: Trace
    item: int
    storage: Storage

    def __post_init__(self) -> None:
        self.store = TensorStore()
        self.error = StorageError()
        self._names: dict[tuple[str, ...], int] = {}

    def index(
        self, title: str, image: Any | None, selected: tuple[int, int] | None
    ) -> dict[str, Any]:
        """Everything but the arrays, for JSON."""
        trace = self.trace
        text = "".join(token.text for token in trace.tokens if not token.special)
        grid = grid_payload(trace, item=self.item)
        even = all_baselines(trace, self.item)
        layers = [self._layer(layer, grid.metrics, even.get(layer.index)) for layer in trace.layers]
        return {
            "title": title,
            "text": ""
            if image is not None or trace.image is not None
            else display_text(text[:TITLE_LETTERS]),
            "whole": len(text) <= TITLE_LETTERS,
            "layers": layers,
            "names": [list(names) for names in self._names],
            "grid": self.store.add_bytes(grid.encode()) if trace.layers else None,
            "predictions": self._predictions(),
            "storage": self._storage_note(),
            "image": image_entry(list(self._names), image, trace.image),
            "start": self._start(grid.metrics, even, selected),
        }

    def _layer(
        self,
        layer: AttentionLayer,
        metrics: tuple[HeadMetrics, ...],
        even: tuple[HeadMetrics, ...] | None,
    ) -> dict[str, Any]:
        trace, item = self.trace, self.item
        found = trace.fidelity(layer.index, rows="recorded")
        described = layer_entry(layer, layer_name(trace, layer.index))
        entry: dict[str, Any] = {**described, "receipt": receipt_entry(layer, found)}
        if layer.source == "refused" or even is None:
            return entry
        record = trace.layer_record(layer.index, item)
        numbers, error = layer_numbers(
            self.store, record, item, slice(0, layer.n_heads), self.storage
        )
        self.error += error
        mine = [m for m in metrics if m.layer == layer.index]
        return {
            **entry,
            **numbers,
            "rows": self._named(token_names(trace.row_tokens(layer.index, item))),
            "cols": self._named(token_names(trace.col_tokens(layer.index, item))),
            "texts": [
                text_entry(section, self._named(section.names))
                for section in text_sections(trace, layer.index, None, item)
            ],
            "helps": token_helps(
                record.visible_counts(item, slice(0, 1)) is not None, layer.kind != "cross"
            ),
            "descriptions": [describe(m, u).sentence for m, u in zip(mine, even, strict=True)],
        }

    def _named(self, names: tuple[str, ...]) -> int:
        """The index of a list of token names; equal lists are stored once."""
        return self._names.setdefault(names, len(self._names))

    def _predictions(self) -> dict[str, Any] | None:
        """What the model predicts: after each position that was kept, or of the whole input."""
        trace = self.trace
        try:
            last = trace.predictions(k=PREDICTIONS)
        except AttnVizError:
            return None
        tokens = predicted_tokens(trace)
        n_kept = 0 if trace.logits is None else len(trace.logits)
        by_position = {}
        if trace.task != "class" and n_kept == len(tokens) <= MAX_PREDICTIONS:
            by_position = {
                str(i): _shares(trace.predictions(i, k=PREDICTIONS)) for i in range(n_kept)
            }
        return {
            "heading": heading(trace, None, None) if trace.task != "class" else "The class",
            "last": _shares(last),
            "text": self._named(token_names(tokens)),
            "byPosition": by_position,
            "task": trace.task,
        }

    def _storage_note(self) -> str:
        if self.storage == "float32":
            return FLOAT32_NOTE
        error = self.error
        rows = (
            f"all {error.total_rows:,} rows"
            if error.rows == error.total_rows
            else f"{error.rows:,} of {error.total_rows:,} rows"
        )
        return (
            "Numbers are stored in 16 bits with a scale per channel. This changes weights by at "
            f"most {error.weights:.1e} and outputs by {error.output:.1e} of the largest, measured "
            f"in {rows} when this page was written."
        )

    def _start(
        self,
        metrics: tuple[HeadMetrics, ...],
        even: dict[int, tuple[HeadMetrics, ...]],
        selected: tuple[int, int] | None,
    ) -> dict[str, int] | None:
        if selected is None:
            best = most_structured(metrics, [m for layer in even.values() for m in layer])
            if best is None:
                return None
            return {"layer": best.layer, "head": best.head}
        self.trace.attention(*selected, item=self.item)  # raises if there is no such head
        return {"layer": selected[0], "head": selected[1]}


def _shares(found: Any) -> list[list[Any]]:
    return [[display_text(p.token), float(p.probability)] for p in found]
