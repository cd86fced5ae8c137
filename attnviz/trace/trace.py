"""What one forward pass did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.compute import Recorded
from attnviz.trace.fidelity import Fidelity, receipt
from attnviz.trace.recorder import Call, Source
from attnviz.trace.structure import Kind

# Runs the model again as for the trace, showing each layer's index and own output.
Replay = Callable[[Callable[[int, Tensor], None]], None]


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
        self._calls = tuple(calls)
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
        held = self._calls[layer].layer
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
    def fidelity(self) -> tuple[Fidelity, ...]: ...
    @overload
    def fidelity(self, layer: int) -> Fidelity: ...
    def fidelity(self, layer: int | None = None) -> Fidelity | tuple[Fidelity, ...]:
        """The receipt: each layer's output recomputed in full and compared with its own.

        Unless the trace keeps the layers' own outputs, the model runs once more to show them, and
        they are compared as they come: that takes a forward pass and the attention of the layers
        asked for, and no memory to speak of.

        A layer whose output cannot be seen (a dense one without values) has no error to report
        and passes on being the module's own weights; a refused one fails.
        """
        asked = range(len(self.layers)) if layer is None else (self._layer(layer, None).index,)
        missing = {i for i in asked if i not in self._receipts}
        outputs = {i for i in missing if self._calls[i].own is None}
        if outputs and self._replay is not None:
            self._replay(lambda i, own: self._receive(i, own) if i in outputs else None)
        for i in missing - self._receipts.keys():
            self._receive(i, self._calls[i].own)
        return tuple(self._receipts[i] for i in asked) if layer is None else self._receipts[layer]

    def _receive(self, i: int, own: Tensor | None) -> None:
        call = self._calls[i]
        self._receipts[i] = receipt(i, call.source, call.layer, own)

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
        for call in self._calls:
            total += call.layer.nbytes if call.layer is not None else 0
            total += call.own.nbytes if call.own is not None else 0
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
