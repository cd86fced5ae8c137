"""Every intermediate of one attention layer, and the stages in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from torch import Tensor

from attnviz.nn.config import AttentionConfig
from attnviz.nn.feed_forward import FeedForwardSteps

Axis = Literal["query", "key", "d_model", "d_head", "concat", "hidden", "sink", "bias"]
T = TypeVar("T")


class StepRecorder(Protocol):
    """Called by a computation with each intermediate and its name; returns the value unchanged."""

    def __call__(self, name: str, value: T, /) -> T: ...


def no_recording(name: str, value: T, /) -> T:
    """A :class:`StepRecorder` that records nothing."""
    return value


class RecordedSteps(dict[str, Any]):
    """A :class:`StepRecorder` that keeps every intermediate under its name."""

    def __call__(self, name: str, value: T, /) -> T:
        self[name] = value
        return value


@dataclass(frozen=True)
class Stage:
    """One matrix on the way from input to output.

    ``value`` is (B, rows, columns), or (B, heads, rows, columns) if ``per_head``. ``heads`` is
    "query" for the layer's H heads, "key" for its H_kv, and None for one matrix for all of them.
    """

    name: str  # the field of AttentionSteps
    title: str  # as it is shown
    formula: str  # how it is computed from earlier stages, on one line
    value: Tensor
    rows: Axis
    columns: Axis
    heads: Literal["query", "key"] | None = None

    @property
    def per_head(self) -> bool:
        """Whether each head has a matrix of its own."""
        return self.heads is not None


@dataclass(frozen=True, kw_only=True)
class AttentionSteps:
    """The result of :meth:`MultiHeadAttention.explain`. A field is None if its option is off.

    A model's head has the same steps, see `attnviz.analysis.real_head`.

    Shapes: B batch, n_q queries, n_k keys, H heads, H_kv key/value heads. In self-attention,
    n_k = n_q. Key/value head ``h * H_kv // H`` serves query head h.
    """

    config: AttentionConfig

    x: Tensor  # (B, n_q, d_model), as given
    position_vectors: Tensor | None = None  # (1 or B, n_q, d_model): sinusoidal or learned
    embedded: Tensor | None = None  # (B, n_q, d_model): x + position_vectors, the residual
    normed: Tensor | None = None  # (B, n_q, d_model), pre-norm
    context: Tensor | None = None  # (B, n_k, d_model): source of the keys in cross-attention

    # of one head of a model: what its vectors are projected by; None in a layer of the lab's own
    w_q: Tensor | None = None  # (1, d_model, d_head)
    w_k: Tensor | None = None  # (1, d_model, d_head)
    w_v: Tensor | None = None  # (1, d_model, d_v)
    w_o: Tensor | None = None  # (1, d_v, d_model)
    b_q: Tensor | None = None  # (1, 1, d_head)
    b_k: Tensor | None = None  # (1, 1, d_head)
    b_v: Tensor | None = None  # (1, 1, d_v)

    # before QK-norm and RoPE, and after QK-norm; None if equal to q or k
    q_projected: Tensor | None = None  # (B, H, n_q, d_head)
    k_projected: Tensor | None = None  # (B, H_kv, n_k, d_head)
    q_normed: Tensor | None = None  # (B, H, n_q, d_head)
    k_normed: Tensor | None = None  # (B, H_kv, n_k, d_head)
    q: Tensor  # (B, H, n_q, d_head), as it enters the product
    k: Tensor  # (B, H_kv, n_k, d_head), as it enters the product
    v: Tensor  # (B, H_kv, n_k, d_head)

    scores_raw: Tensor  # (B, H, n_q, n_k): Q K^T
    scores_scaled: Tensor  # (B, H, n_q, n_k)
    scores_capped: Tensor | None = None  # (B, H, n_q, n_k)
    bias: Tensor | None = None  # (1, H, n_q, n_k): ALiBi or T5
    mask: Tensor | None = None  # (1 or B, 1, n_q, n_k) bool, True where visible; None if all is
    scores: Tensor  # (B, H, n_q, n_k) before softmax, -inf where masked
    sink: Tensor | None = None  # (H,): the score of each head's sink
    sink_weights: Tensor | None = None  # (B, H, n_q): the weight of the sink
    weights: Tensor  # (B, H, n_q, n_k); a fully masked row is all zeros
    weights_dropped: Tensor | None = None  # (B, H, n_q, n_k), when training with dropout

    heads: Tensor  # (B, H, n_q, d_head): each head's output
    contribution: Tensor | None = None  # (B, n_q, d_model): one head's output times its W_O
    concat: Tensor | None = None  # (B, n_q, H * d_head)
    projected: Tensor | None = None  # (B, n_q, d_model): concat W_O
    residual_sum: Tensor | None = None  # (B, n_q, d_model)
    post_normed: Tensor | None = None  # (B, n_q, d_model), post-norm
    feed_forward: FeedForwardSteps | None = None
    output: Tensor  # (B, n_q, d_model), what the layer returns

    @classmethod
    def of(cls, recorded: RecordedSteps) -> AttentionSteps:
        """The recorded steps, without projections that no later step changed: they are q or k."""
        unchanged = {
            name
            for name in ("q_projected", "k_projected", "q_normed", "k_normed")
            if recorded.get(name) is recorded[name[0]]
        }
        return cls(**{name: step for name, step in recorded.items() if name not in unchanged})

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The matrices in the order of computation, without those of options that are off."""
        return tuple(self._stages())

    def _stages(self) -> Iterator[Stage]:
        yield from self._projection_stages()
        yield from self._weight_stages()
        yield from self._output_stages()

    def _projection_stages(self) -> Iterator[Stage]:
        stream: tuple[Axis, Axis] = ("query", "d_model")
        source = "X"
        yield Stage("x", "Input X", "X: one row per token", self.x, *stream)
        if self.position_vectors is not None and self.embedded is not None:
            formula = f"P: {self.config.positions} positions"
            yield Stage("position_vectors", "Positions P", formula, self.position_vectors, *stream)
            yield Stage("embedded", "Input with positions", "X ← X + P", self.embedded, *stream)
        if self.normed is not None:
            source = "X̂"
            yield Stage("normed", "Norm", f"X̂ = {self._norm('X')}", self.normed, *stream)
        memory = source
        if self.context is not None:
            memory = "C"
            formula = "C: the sequence attended to"
            yield Stage("context", "Context C", formula, self.context, "key", "d_model")
        plus = " + b" if self.config.bias else ""
        yield from self._weight_matrices("q")
        yield from self._vector_stages("q", f"Q = {source}·W_Q{plus}")
        yield from self._weight_matrices("k")
        yield from self._vector_stages("k", f"K = {memory}·W_K{plus}")
        yield from self._weight_matrices("v")
        yield Stage("v", "Values V", f"V = {memory}·W_V{plus}", self.v, "key", "d_head", "key")

    def _weight_matrices(self, name: Literal["q", "k", "v"]) -> Iterator[Stage]:
        """What a model's head projects by."""
        weight, bias = getattr(self, f"w_{name}"), getattr(self, f"b_{name}")
        letter = name.upper()
        if weight is not None:
            formula = "the model's own weights"
            yield Stage(f"w_{name}", f"W_{letter}", formula, weight, "d_model", "d_head")
        if bias is not None:
            yield Stage(f"b_{name}", f"b_{letter}", "its bias", bias, "bias", "d_head")

    def _vector_stages(self, name: Literal["q", "k"], formula: str) -> Iterator[Stage]:
        """Queries or keys: projected by ``formula``, normalized, rotated."""
        letter, title = ("Q", "Queries") if name == "q" else ("K", "Keys")
        side: Literal["query", "key"] = "query" if name == "q" else "key"
        axes: tuple[Axis, Axis, Literal["query", "key"]] = (side, "d_head", side)
        projected, normed = getattr(self, f"{name}_projected"), getattr(self, f"{name}_normed")
        if projected is not None:
            yield Stage(f"{name}_projected", f"{letter} projected", formula, projected, *axes)
            formula = f"{letter} ← RMSNorm({letter}), each row"
        if normed is not None:
            yield Stage(f"{name}_normed", f"{letter} normed", formula, normed, *axes)
        if self.config.positions == "rope" and self.context is None:
            formula = f"{letter} ← {letter} rotated by its position (RoPE)"
        yield Stage(name, f"{title} {letter}", formula, getattr(self, name), *axes)

    def _weight_stages(self) -> Iterator[Stage]:
        pairs: tuple[Axis, Axis, Literal["query"]] = ("query", "key", "query")
        config = self.config
        yield Stage("scores_raw", "Dot products", "S = Q·Kᵀ", self.scores_raw, *pairs)
        formula = f"S ← S × {config.scaling:.4g}{_scale_reason(config)}"
        yield Stage("scores_scaled", "Scaled", formula, self.scores_scaled, *pairs)
        if self.scores_capped is not None:
            formula = f"S ← {config.softcap:g} · tanh(S / {config.softcap:g})"
            yield Stage("scores_capped", "Soft-capped", formula, self.scores_capped, *pairs)
        if self.bias is not None:
            formula = {
                "alibi": "B = −slope of the head × distance (ALiBi)",
                "t5": "B = the head's learned bias for the distance's bucket (T5)",
            }.get(config.positions, "B: what the layer adds for the positions")
            yield Stage("bias", "Position bias B", formula, self.bias, *pairs)
        if self.mask is not None:
            formula = "M: 1 where visible"
            yield Stage("mask", "Mask M", formula, self.mask[:, 0], "query", "key")
        terms = "S" + (" + B" if self.bias is not None else "")
        formula = f"S ← {terms}" + (", −∞ where M is 0" if self.mask is not None else "")
        yield Stage("scores", "Scores", formula, self.scores, *pairs)
        if self.sink_weights is not None:
            formula = "the sink's share: e^sink / (e^sink + Σ e^S)"
            value = self.sink_weights[..., None]  # (B, H, n_q, 1)
            yield Stage("sink_weights", "Sink", formula, value, "query", "sink", "query")
        formula = "A = softmax(S), each row" + (", sink included" if config.sink else "")
        yield Stage("weights", "Weights A", formula, self.weights, *pairs)
        if self.weights_dropped is not None:
            formula = f"A ← A without {config.dropout:.0%} of its cells, ÷ {1 - config.dropout:g}"
            yield Stage("weights_dropped", "After dropout", formula, self.weights_dropped, *pairs)

    def _output_stages(self) -> Iterator[Stage]:
        stream: tuple[Axis, Axis] = ("query", "d_model")
        plus = " + b" if self.config.bias else ""
        yield Stage("heads", "Head outputs", "O = A·V", self.heads, "query", "d_head", "query")
        if self.w_o is not None:
            yield Stage("w_o", "W_O", "the head's rows of it", self.w_o, "d_head", "d_model")
        if self.contribution is not None:
            formula = "O·W_O: what this head adds"
            yield Stage("contribution", "This head adds", formula, self.contribution, *stream)
        if self.concat is not None:
            formula = "C = the heads' O, concatenated"
            yield Stage("concat", "Concatenated", formula, self.concat, "query", "concat")
        if self.projected is not None:
            formula = f"Y = C·W_O{plus}"
            yield Stage("projected", "Projected by W_O", formula, self.projected, *stream)
        if self.residual_sum is not None:
            yield Stage("residual_sum", "Residual", "Y ← X + Y", self.residual_sum, *stream)
        if self.post_normed is not None:
            yield Stage("post_normed", "Norm", f"Y ← {self._norm('Y')}", self.post_normed, *stream)
        if self.feed_forward is not None:
            yield from self._feed_forward_stages(self.feed_forward)
        yield Stage("output", "Output", "the layer's output", self.output, *stream)

    def _feed_forward_stages(self, steps: FeedForwardSteps) -> Iterator[Stage]:
        stream: tuple[Axis, Axis] = ("query", "d_model")
        source, act = "Y", self.config.activation
        if steps.normed is not None:
            source = "Ŷ"
            formula = f"Ŷ = {self._norm('Y')}"
            yield Stage("feed_forward.normed", "Norm", formula, steps.normed, *stream)
        formula = f"F = {act}({source}·W_up)"
        if act == "swiglu":
            formula = f"F = silu({source}·W_gate) × ({source}·W_up)"
        yield Stage(
            "feed_forward.hidden", "Feed-forward, hidden", formula, steps.hidden, "query", "hidden"
        )
        formula = "Z = F·W_down"
        yield Stage("feed_forward.projected", "Feed-forward", formula, steps.projected, *stream)
        if steps.residual_sum is not None:
            formula = "Z ← Y + Z"
            name = "feed_forward.residual_sum"
            yield Stage(name, "Residual", formula, steps.residual_sum, *stream)
        if steps.post_normed is not None:
            formula = f"Z ← {self._norm('Z')}"
            yield Stage("feed_forward.post_normed", "Norm", formula, steps.post_normed, *stream)

    def _norm(self, of: str) -> str:
        return f"{'RMSNorm' if self.config.norm_kind == 'rms' else 'LayerNorm'}({of})"


def _scale_reason(config: AttentionConfig) -> str:
    reason = {"sqrt": "1/√d_head", "none": "no scale"}.get(str(config.scale), "custom scale")
    cooled = "" if config.temperature == 1.0 else f" / temperature {config.temperature:g}"
    return f" ({reason}{cooled})"
