"""A trace: what one forward pass did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, overload

from torch import Tensor

from attnviz.display import Displayable
from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace.attention_map import AttentionMap, MapOrigin
from attnviz.trace.axis_labels import Axis, AxisLabels, BatchTokens
from attnviz.trace.block_run import BlockRun
from attnviz.trace.call import Call, Source
from attnviz.trace.call_interpreter import compare_probe
from attnviz.trace.fidelity import Checks, Fidelity, all_rows, compare, receipt
from attnviz.trace.image_input import ImageInput
from attnviz.trace.prediction import Prediction, PredictionHead
from attnviz.trace.probe import ProbeResult
from attnviz.trace.records import LayerRecord
from attnviz.trace.replay import Replay, watch
from attnviz.trace.residual_stream import Tower
from attnviz.trace.structure import Kind

Rows = Literal["recorded", "all"]


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer of a trace.

    Attributes:
        index: its index in ``trace.layers``, in the order in which the layers ran.
        kind: "encoder", "decoder" or "cross". name: the path of its module in the model.
        n_items: items in the batch, or windows of an image if the layer works on those.
        rows, cols: what its queries and its keys are, see `attnviz.trace.axis_labels.Axis`.
        source: "exact" (recomputed from Q, K, V), "dense" (the module's own weights) or
            "refused"; reason: why it is not exact.
    """

    index: int
    kind: Kind
    name: str
    n_heads: int
    n_kv_heads: int
    n_q: int
    n_k: int
    n_items: int
    source: Source
    reason: str
    rows: Axis = "number"
    cols: Axis = "number"


class Trace(Displayable):
    """What one forward pass did, with attention kept as Q, K, V and score modifiers.

        trace = model.trace("The cat sat")
        trace.attention(layer=3, head=5).weights()   # (n_q, n_k)
        trace.fidelity(3).error                      # max |recomputed - the layer's own output|

    Read-only: several threads may use one trace at once.

    Attributes:
        tokens: the input's tokens (the first item's of a batch): for an encoder-decoder those of
            the source, for an image without text its patches.
        target_tokens: the decoder's tokens of an encoder-decoder, else empty.
        towers: the stacks of blocks, each with a residual stream of its own.
        layers: one `AttentionLayer` each, in the order in which they ran.
        logits: (n, vocabulary) of the first item; (1, vocabulary) if only the last position was
            kept; (classes,) of a classifier; None if the model has no such head.
        task: what the logits predict, see `attnviz.trace.prediction.Task`.
        image: what it was made of, if that is one image.
    """

    def __init__(
        self,
        *,
        calls: Sequence[Call],
        names: Sequence[str],
        kinds: Sequence[Kind],
        axes: Sequence[tuple[Axis, Axis]],
        tokens: tuple[Token, ...],
        target_tokens: tuple[Token, ...] = (),
        towers: Sequence[Tower] = (),
        labels: AxisLabels | None = None,
        logits: Tensor | None = None,
        head: PredictionHead | None = None,
        replay: Replay | None = None,
        image: ImageInput | None = None,
    ) -> None:
        # not the calls themselves: they refer to the model's modules
        self._records = tuple(call.layer for call in calls)
        self._own = tuple(call.own for call in calls)
        self._checks = tuple(call.checks for call in calls)
        self._labels = labels or AxisLabels(
            BatchTokens(tokens), BatchTokens(target_tokens), image=tokens
        )
        self._head = head or PredictionHead()
        self._replay = replay
        self._receipts: dict[int, Fidelity] = {}
        self.tokens = tokens
        self.target_tokens = target_tokens
        self.towers = tuple(towers)
        self.logits = logits
        self.image = image
        self.task = self._head.task
        layers = enumerate(zip(calls, names, kinds, axes, strict=True))
        self.layers = tuple(_describe(i, *layer) for i, layer in layers)

    def attention(
        self, layer: int, head: int, *, kind: Kind | None = None, item: int = 0
    ) -> AttentionMap:
        """One head's attention; nothing is computed yet.

        Args:
            layer: index into ``layers``, or, with ``kind``, among the layers of that kind.
            item: which text of a batch (or window of an image).

        Raises:
            AttnVizError: no such layer or head, or a layer that was refused.
        """
        found = self._layer(layer, kind)
        record = self.layer_record(found.index, item)
        if not 0 <= head < found.n_heads:
            raise AttnVizError(
                f"Layer {found.index} has no head {head}.",
                f"Its heads are 0 to {found.n_heads - 1}.",
            )
        origin = MapOrigin(found, self._labels, self._checks[found.index])
        return AttentionMap(record, head, item, origin)

    def layer_record(self, layer: int, item: int = 0) -> LayerRecord:
        """The record of a whole layer, for code that works on many heads at once.

        Raises:
            AttnVizError: no such layer or item, or a layer that was refused.
        """
        found = self._layer(layer, None)
        record = self._records[layer]
        if record is None:
            raise AttnVizError(
                f"Layer {layer} ({found.name}) cannot be shown: {found.reason}.",
                "Choose another layer.",
            )
        if not 0 <= item < found.n_items:
            raise AttnVizError(
                f"Layer {layer} has no item {item}.", f"It has {found.n_items}, from 0."
            )
        return record

    @overload
    def fidelity(
        self, layer: None = None, rows: Rows = "all", should_continue: Callable[[], bool] = ...
    ) -> tuple[Fidelity, ...]: ...
    @overload
    def fidelity(
        self, layer: int, rows: Rows = "all", should_continue: Callable[[], bool] = ...
    ) -> Fidelity: ...
    def fidelity(
        self,
        layer: int | None = None,
        rows: Rows = "all",
        should_continue: Callable[[], bool] = lambda: True,
    ) -> Fidelity | tuple[Fidelity, ...]:
        """The receipt: outputs and weights of a layer, or of each layer, compared with its own.

        Args:
            rows: "recorded" rows were compared while the model ran: all of a short input, some of a
                long one (`Fidelity.rows` says how many). "all" compares the rest too: the model
                runs once more, and each layer is compared as it runs, which takes little memory.
                It also runs if its weights have changed since, and then the receipt fails. If it is
                no longer in memory, the receipt covers the recorded rows.
            should_continue: called between layers; returning False ends the second pass, and the
                receipts cover what was compared until then.

        A refused layer fails, and so does a layer of which nothing could be compared.
        """
        indices = range(len(self.layers)) if layer is None else (self._layer(layer, None).index,)
        if rows == "all":
            self._check_all([i for i in indices if i not in self._receipts], should_continue)
        found = tuple(self._receipts.get(i) or self._receipt(i, self._checks[i]) for i in indices)
        return found if layer is None else found[0]

    def _receipt(self, i: int, checks: Checks) -> Fidelity:
        return receipt(i, self.layers[i].source, self._records[i], checks)

    def _check_all(self, layers: Collection[int], should_continue: Callable[[], bool]) -> None:
        """Receipts of all rows of these layers, as far as possible."""
        replay = self._replay if self._replay is not None and self._replay.possible else None
        changed = replay is not None and replay.changed
        remaining = set()
        for i in layers:
            recorded = self._receipt(i, self._checks[i])
            incomplete = recorded.rows < recorded.total_rows
            if self._records[i] is not None and (incomplete or changed):
                remaining.add(i)
            else:
                self._receipts[i] = recorded
        try:
            if remaining and replay is not None:
                replay.run(_ReplayComparison(self, remaining, should_continue))
        except _Canceled:
            return
        for i in remaining - self._receipts.keys():  # with the layer's own output, if it was kept
            own, record, checks = self._own[i], self._records[i], self._checks[i]
            if own is not None and record is not None and checks.rounding is not None:
                output = compare(record, own, all_rows(record), checks.rounding)
                self._receipts[i] = self._receipt(i, replace(checks, output=output))

    def residual(
        self, i: int, *, kind: Kind | None = None, item: int = 0, tower: str | None = None
    ) -> Tensor:
        """(n, d_model): the input of block i; 0 is the embedding, -1 the last block's output.

        Args:
            kind: "encoder" or "decoder"; by default the decoder, where there is one.
            tower: one of ``towers`` by name; by default the first encoder, or the last decoder.

        Raises:
            AttnVizError: no such point, item or tower, or a stream that was not kept.
        """
        found = self._tower(kind, tower)
        if found is None or not found.points:
            if found is not None and found.reason:
                reason = f"This model's residual stream cannot be shown: {found.reason}."
                raise AttnVizError(reason, "")
            raise AttnVizError(
                "This trace has no residual stream.",
                'Trace with keep=("qkv", "residual"); some architectures have none.',
            )
        points = found.points
        if not -len(points) <= i < len(points):
            raise AttnVizError(
                f"There is no residual {i}.", f"They run from 0 to {len(points) - 1}."
            )
        if not 0 <= item < len(points[i]):
            raise AttnVizError(
                f"The residual stream has no item {item}.", f"It has {len(points[i])}, from 0."
            )
        return points[i][item]

    def n_residuals(self, kind: Kind | None = None, *, tower: str | None = None) -> int:
        """How many points of the residual stream were kept: number of blocks + 1, or 0."""
        found = self._tower(kind, tower)
        return 0 if found is None else len(found.points)

    def tower_of(self, layer: int) -> Tower | None:
        """The innermost tower that contains a layer; None if none does."""
        name = self._layer(layer, None).name
        containing = [t for t in self.towers if name.startswith(f"{t.name}.")]
        return max(containing, key=lambda t: len(t.name), default=None)

    def row_tokens(self, layer: int, item: int = 0) -> tuple[Token, ...]:
        """The tokens of a layer's queries, in one item of the batch; numbers if they have none."""
        found = self._layer(layer, None)
        return self._labels.of(found.rows, found.n_q, item)

    def col_tokens(self, layer: int, item: int = 0) -> tuple[Token, ...]:
        """The tokens of a layer's keys, in one item of the batch; numbers if they have none."""
        found = self._layer(layer, None)
        return self._labels.of(found.cols, found.n_k, item)

    def predictions(self, position: int | None = None, k: int = 10) -> tuple[Prediction, ...]:
        """The k most probable tokens at a position (or classes of a classifier), of the first item.

        Args:
            position: in the decoder input of an encoder-decoder, else in the input. The prediction
                is of the token after it, or of the token at it if ``task`` is "fill". By default
                the last, or the mask token of a masked language model.

        Raises:
            AttnVizError: the model predicts nothing, or that position was not kept.
        """
        tokens = self.target_tokens if self._labels.has_target else self.tokens
        return self._head.predict(self.logits, tokens, position, k)

    def logits_at(self, position: int | None = None) -> Tensor:
        """(choices,) the model's raw logits at a position, as ``predictions`` takes it."""
        tokens = self.target_tokens if self._labels.has_target else self.tokens
        return self._head.row(self.logits, tokens, position)

    def choice(self, answer: str | int) -> int:
        """The index among the logits of a token or a class, by its index or its text.

        Raises:
            AttnVizError: there is no such class, or a text is several tokens.
        """
        return self._head.choice(answer)

    def block_run(self, layer: int) -> BlockRun:
        """What entered and left the modules of a layer's block: the pass runs once more.

        Raises:
            AttnVizError: no such layer, or a pass that can't be run again as it was.
        """
        found = self._layer(layer, None)
        nth = sum(other.name == found.name for other in self.layers[: found.index])
        return watch(self._replay, found.name, nth)

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        total = 0 if self.logits is None else self.logits.nbytes
        total += sum(record.nbytes for record in self._records if record is not None)
        total += 0 if self.image is None else self.image.nbytes
        total += sum(own.nbytes for own in self._own if own is not None)
        return total + sum(t.nbytes for tower in self.towers for t in tower.points)

    def _layer(self, layer: int, kind: Kind | None) -> AttentionLayer:
        among = [x for x in self.layers if kind is None or x.kind == kind]
        if not 0 <= layer < len(among):
            what = f"{kind} layer" if kind else "layer"
            have = f"They run from 0 to {len(among) - 1}." if among else "The model has none."
            raise AttnVizError(f"There is no {what} {layer}.", have)
        return among[layer]

    def _tower(self, kind: Kind | None, name: str | None) -> Tower | None:
        if name is not None:
            found = next((t for t in self.towers if t.name == name), None)
            if found is None:
                have = ", ".join(t.name for t in self.towers) or "none"
                raise AttnVizError(f"There is no tower {name}.", f"There are: {have}.")
            return found
        if kind is None:
            kind = "decoder" if any(t.kind == "decoder" for t in self.towers) else "encoder"
        # a byte model's decoder comes after other decoders; an image encoder before its resampler
        among = [t for t in self.towers if t.kind == kind]
        return None if not among else among[-1 if kind == "decoder" else 0]


class _Canceled(Exception):
    """The receipts are not needed any more."""


class _ReplayComparison:
    """Compares the layers of a second pass with the records of a trace.

    Args:
        remaining: the layers to compare; a layer that was compared is removed.
    """

    def __init__(
        self, trace: Trace, remaining: set[int], should_continue: Callable[[], bool]
    ) -> None:
        self._trace = trace
        self._remaining = set(remaining)
        self._should_continue = should_continue

    def needs(self, index: int) -> bool:
        """Whether a layer is still to be compared."""
        if not self._remaining or not self._should_continue():
            raise _Canceled
        return index in self._remaining

    def observe(self, index: int, own: Tensor, probe: ProbeResult | None) -> None:
        """Compares one layer."""
        trace = self._trace
        record, rounding = trace._records[index], trace._checks[index].rounding
        self._remaining.discard(index)
        if record is None or rounding is None:
            return
        output = compare(record, own, all_rows(record), rounding)
        weights = compare_probe(record, probe, rounding) or trace._checks[index].weights
        checks = Checks(output, weights, rounding)
        trace._receipts[index] = trace._receipt(index, checks)


def _describe(
    index: int, call: Call, name: str, kind: Kind, axes: tuple[Axis, Axis]
) -> AttentionLayer:
    source, reason = call.source, call.reason
    if call.layer is None:
        return AttentionLayer(index, kind, name, 0, 0, 0, 0, 0, source, reason, *axes)
    B, H, n_q, n_k = call.layer.shape
    keys = call.layer.k
    n_kv = keys.shape[1] if keys is not None else H
    return AttentionLayer(index, kind, name, H, n_kv, n_q, n_k, B, source, reason, *axes)
