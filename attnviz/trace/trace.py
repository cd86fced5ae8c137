"""What one forward pass did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, overload

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.compute import Recorded
from attnviz.trace.fidelity import Checks, Fidelity, compare, every_row, receipt
from attnviz.trace.probe import Asked
from attnviz.trace.reading import Source, proven
from attnviz.trace.recorder import Call
from attnviz.trace.recording import Replay
from attnviz.trace.structure import Kind

Rows = Literal["recorded", "all"]


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer of a trace.

    Attributes:
        index: its place in ``trace.layers``, which is the order in which the layers ran.
        kind: "encoder", "decoder" or "cross". name: its module inside the model.
        n_items: items in the batch, or windows of an image where the layer works on those.
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


@dataclass(frozen=True)
class Prediction:
    """One token that the model thinks possible at a position."""

    token: str
    id: int
    probability: float


class Trace:
    """What one forward pass did, with attention kept as what it is made of.

        trace = model.trace("The cat sat")
        trace.attention(layer=3, head=5).weights()   # (n_q, n_k)
        trace.fidelity(3).error                      # max |recomputed - the layer's own output|

    Read-only: several people may look at one trace at once.

    Attributes:
        tokens: the input's tokens; for an encoder-decoder those of the source.
        target_tokens: the decoder's tokens of an encoder-decoder, else empty.
        layers: one `AttentionLayer` each, in the order in which they ran.
        logits: (n, vocabulary) of the first item, (1, vocabulary) where only the last position
            was kept, (classes,) of a classifier, None where the model has no such head.
        text: what was generated or given, as one string.
    """

    def __init__(
        self,
        *,
        calls: Sequence[Call],
        names: Sequence[str],
        kinds: Sequence[Kind],
        residuals: dict[Kind, tuple[Tensor, ...]],
        tokens: tuple[Token, ...],
        target_tokens: tuple[Token, ...] = (),
        logits: Tensor | None = None,
        vocabulary: object = None,
        mask_token_id: int | None = None,
        replay: Replay | None = None,
    ) -> None:
        # not the calls: they hold the model's modules
        self._held = tuple(call.layer for call in calls)
        self._own = tuple(call.own for call in calls)
        self._checks = tuple(call.checks for call in calls)
        self._residuals = residuals
        self._vocabulary = vocabulary
        self._mask_token_id = mask_token_id
        self._replay = replay
        self._receipts: dict[int, Fidelity] = {}
        self.tokens = tokens
        self.target_tokens = target_tokens
        self.logits = logits
        self.layers = tuple(
            _describe(i, call, name, kind)
            for i, (call, name, kind) in enumerate(zip(calls, names, kinds, strict=True))
        )

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
        held = self.recorded(found.index, item)
        if not 0 <= head < found.n_heads:
            raise AttnVizError(
                f"Layer {found.index} has no head {head}.",
                f"Its heads are 0 to {found.n_heads - 1}.",
            )
        return AttentionMap(held, head, item)

    def recorded(self, layer: int, item: int = 0) -> Recorded:
        """A whole layer as it was kept, for what looks at many heads at once.

        Raises:
            AttnVizError: no such layer or item, or a layer that was refused.
        """
        found = self._layer(layer, None)
        held = self._held[layer]
        if held is None:
            raise AttnVizError(
                f"Layer {layer} ({found.name}) cannot be shown: {found.reason}.",
                "Look at another layer.",
            )
        if not 0 <= item < found.n_items:
            raise AttnVizError(
                f"Layer {layer} has no item {item}.", f"It has {found.n_items}, from 0."
            )
        return held

    @overload
    def fidelity(
        self, layer: None = None, rows: Rows = "all", wanted: Callable[[], bool] = ...
    ) -> tuple[Fidelity, ...]: ...
    @overload
    def fidelity(
        self, layer: int, rows: Rows = "all", wanted: Callable[[], bool] = ...
    ) -> Fidelity: ...
    def fidelity(
        self,
        layer: int | None = None,
        rows: Rows = "all",
        wanted: Callable[[], bool] = lambda: True,
    ) -> Fidelity | tuple[Fidelity, ...]:
        """The receipt: outputs and weights of a layer, or of each, compared with its own.

        Args:
            rows: "recorded" are those that were compared while the model ran: all of a short input,
                some of a long one (`Fidelity.rows` says how many). "all" compares the rest too:
                the model runs once more and its layers are compared as they run, in no memory to
                speak of. It is also run where its weights have changed since, and then the receipt
                fails. Where it is not in memory any more, the receipt is of the rows recorded.
            wanted: asked between layers; returning False ends the second pass, and the receipts are
                of what was compared until then.

        A layer that was refused fails, and so does one that nothing could be compared of.
        """
        asked = range(len(self.layers)) if layer is None else (self._layer(layer, None).index,)
        if rows == "all":
            self._check_all([i for i in asked if i not in self._receipts], wanted)
        found = tuple(self._receipts.get(i) or self._receipt(i, self._checks[i]) for i in asked)
        return found if layer is None else found[0]

    def _receipt(self, i: int, checks: Checks) -> Fidelity:
        return receipt(i, self.layers[i].source, self._held[i], checks)

    def _check_all(self, layers: Collection[int], wanted: Callable[[], bool]) -> None:
        """Receipts of all rows of these layers, as far as they can be had."""
        again = self._replay is not None and self._replay.possible
        changed = again and self._replay is not None and self._replay.changed
        open_ = set()
        for i in layers:
            so_far = self._receipt(i, self._checks[i])
            if self._held[i] is not None and (so_far.rows < so_far.of or changed):
                open_.add(i)
            else:
                self._receipts[i] = so_far
        if open_ and again and self._replay is not None:
            try:
                self._replay.run(_Comparison(self, open_, wanted))
            except _NotWanted:
                return
        for i in open_ - self._receipts.keys():  # its own output, where that was kept
            own, held, checks = self._own[i], self._held[i], self._checks[i]
            if own is not None and held is not None and checks.rounding is not None:
                output = compare(held, own, every_row(held), checks.rounding)
                self._receipts[i] = self._receipt(i, replace(checks, output=output))

    def residual(self, i: int, *, kind: Kind | None = None, item: int = 0) -> Tensor:
        """(n, d_model): the stream that enters block i; 0 is the embedding, -1 what the last left.

        Args:
            kind: "encoder" or "decoder"; by default the decoder, where there is one.
        """
        stream = self._stream(kind)
        if not stream:
            raise AttnVizError(
                "This trace holds no residual stream.",
                'Trace with keep=("qkv", "residual"); some architectures have none to keep.',
            )
        if not -len(stream) <= i < len(stream):
            raise AttnVizError(
                f"There is no residual {i}.", f"They run from 0 to {len(stream) - 1}."
            )
        return stream[i][item]

    def n_residuals(self, kind: Kind | None = None) -> int:
        """How many points of the residual stream were kept: blocks + 1, or 0."""
        return len(self._stream(kind))

    def row_tokens(self, layer: int) -> tuple[Token, ...]:
        """The tokens of a layer's queries."""
        found = self._layer(layer, None)
        source = found.kind == "encoder" or not self.target_tokens
        return _labels(self.tokens if source else self.target_tokens, found.n_q)

    def col_tokens(self, layer: int) -> tuple[Token, ...]:
        """The tokens of a layer's keys."""
        found = self._layer(layer, None)
        source = found.kind != "decoder" or not self.target_tokens
        return _labels(self.tokens if source else self.target_tokens, found.n_k)

    def predictions(self, position: int | None = None, k: int = 10) -> tuple[Prediction, ...]:
        """The k likeliest tokens at a position (or classes of a classifier).

        Args:
            position: which row of the logits; by default the mask token of a masked-language
                model, else the last one.

        Raises:
            AttnVizError: the model predicts nothing, or that position was not kept.
        """
        if self.logits is None:
            raise AttnVizError(
                "This model predicts no tokens.", "Its checkpoint has no language-model head."
            )
        if self.logits.ndim == 1:
            row = self.logits
        else:
            if position is None:
                places = [i for i, t in enumerate(self.tokens) if t.id == self._mask_token_id]
                position = places[0] if places else -1
            n = self.logits.shape[0]
            if not -n <= position < n:
                raise AttnVizError(
                    f"The logits of position {position} were not kept.",
                    'Trace with keep=("qkv", "residual", "logits").',
                )
            row = self.logits[position]
        probabilities = torch.softmax(row.float(), dim=-1)
        top = torch.topk(probabilities, min(k, len(probabilities)))
        return tuple(
            Prediction(self._word(int(i)), int(i), float(p))
            for p, i in zip(top.values, top.indices, strict=True)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held."""
        total = 0 if self.logits is None else self.logits.nbytes
        total += sum(held.nbytes for held in self._held if held is not None)
        total += sum(own.nbytes for own in self._own if own is not None)
        return total + sum(t.nbytes for stream in self._residuals.values() for t in stream)

    def _layer(self, layer: int, kind: Kind | None) -> AttentionLayer:
        among = [x for x in self.layers if kind is None or x.kind == kind]
        if not 0 <= layer < len(among):
            what = f"{kind} layer" if kind else "layer"
            have = f"They run from 0 to {len(among) - 1}." if among else "The model has none."
            raise AttnVizError(f"There is no {what} {layer}.", have)
        return among[layer]

    def _stream(self, kind: Kind | None) -> tuple[Tensor, ...]:
        if kind is None:
            kind = "decoder" if "decoder" in self._residuals else "encoder"
        return self._residuals.get(kind, ())

    def _word(self, id: int) -> str:
        if isinstance(self._vocabulary, dict):
            return str(self._vocabulary.get(id, id))
        if self._vocabulary is None:
            return str(id)
        return str(self._vocabulary.decode([id]))  # type: ignore[attr-defined]


class _NotWanted(Exception):
    """Nobody waits for the receipts any more."""


class _Comparison:
    """A second pass, compared with what a trace holds of the first.

    Args:
        open_: the layers to compare; those that were are taken out of it.
    """

    def __init__(self, trace: Trace, open_: set[int], wanted: Callable[[], bool]) -> None:
        self._trace = trace
        self._open = open_
        self._wanted = wanted

    def wants(self, index: int) -> bool:
        if not self._open or not self._wanted():
            raise _NotWanted
        return index in self._open

    def see(self, index: int, own: Tensor, asked: Asked | None) -> None:
        trace = self._trace
        held, rounding = trace._held[index], trace._checks[index].rounding
        self._open.discard(index)
        if held is None or rounding is None:
            return
        output = compare(held, own, every_row(held), rounding)
        weights = proven(held, asked, rounding) or trace._checks[index].weights
        checks = Checks(output, weights, rounding)
        trace._receipts[index] = trace._receipt(index, checks)


def _describe(index: int, call: Call, name: str, kind: Kind) -> AttentionLayer:
    if call.layer is None:
        return AttentionLayer(index, kind, name, 0, 0, 0, 0, 0, call.source, call.reason)
    B, H, n_q, n_k = call.layer.shape
    keys = call.layer.k
    n_kv = keys.shape[1] if keys is not None else H
    return AttentionLayer(index, kind, name, H, n_kv, n_q, n_k, B, call.source, call.reason)


def _labels(tokens: tuple[Token, ...], n: int) -> tuple[Token, ...]:
    """The tokens, if they are as many as the positions; else the positions' numbers."""
    if len(tokens) == n:
        return tokens
    return tuple(Token(str(i), -1, None, None) for i in range(n))
