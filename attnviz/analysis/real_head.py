"""One head of a model, step by step: its own weights, the text's own vectors.

    head = real_head(trace, layer=8, head=3)
    head.steps.weights           # (1, 1, n_q, n_k), recomputed from the block's input and W_Q, W_K
    head.weights_error           # max |recomputed - the trace's|

The steps are the Layer lab's (`attnviz.nn.AttentionSteps`), for this head alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

import torch
from torch import Tensor

from attnviz.analysis.head_projections import (
    Angles,
    VectorSource,
    is_norm,
    output_projection,
    rotated,
    same,
    source_of,
    token_rows,
)
from attnviz.errors import AttnVizError
from attnviz.nn import AttentionConfig, AttentionSteps, Stage
from attnviz.nn.scores import soft_cap, softmax
from attnviz.trace import Trace
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.block_run import BlockRun, ModuleRun

MAX_TOKENS: Final = 128  # a matrix of more has cells too small to read
# Rounding of sums of products in another order, relative to the largest number. Half precision
# rounds what the model computed; the steps here are in float32.
TOLERANCES: Final = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
WEIGHTS_TOLERANCE: Final = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}


@dataclass(frozen=True)
class RealHead:
    """A head's steps, and how far they are from what the model computed.

    Attributes:
        config: the layer's settings, in the lab's words.
        query_tokens, key_tokens: labels. title: the layer and the head.
        weights_error, output_error: max |recomputed - the trace's|, of weights and head output.
        missing: what could not be followed, in words.
    """

    steps: AttentionSteps
    config: AttentionConfig
    query_tokens: tuple[str, ...]
    key_tokens: tuple[str, ...]
    title: str
    weights_error: float
    output_error: float
    missing: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(stage.value.nbytes for stage in self.steps.stages)

    def stage_labels(self, stage: Stage) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The labels of a stage's rows and columns: tokens, or numbers of dimensions."""
        tokens = {"query": self.query_tokens, "key": self.key_tokens, "sink": ("sink",)}
        rows, columns = (tuple(map(str, range(n))) for n in stage.value.shape[-2:])
        return tokens.get(stage.rows, rows), tokens.get(stage.columns, columns)


def real_head(trace: Trace, layer: int, head: int, item: int = 0) -> RealHead:
    """One head of a trace as steps that are computed from its weights and its block's input.

    The model runs once more, to see its block's input and its projections.

    Raises:
        AttnVizError: no such layer or head, a text of more than ``MAX_TOKENS`` tokens, or a layer
            whose way from its input to Q, K and V can't be followed; the message says which.
    """
    a = trace.attention(layer, head, item=item)
    if max(a.n_q, a.n_k) > MAX_TOKENS:
        raise AttnVizError(
            f"The text has {max(a.n_q, a.n_k)} tokens, and the lab shows at most {MAX_TOKENS}.",
            "Shorten it, or use Explore for longer texts.",
        )
    if a.record.modifiers is None or a.record.unedited is not a.record:
        raise AttnVizError(
            "This layer's scores are computed inside its module and are not available.",
            "Choose another layer, or look at its weights in Explore.",
        )
    if a.record.modifiers.sink_gates_output:
        _unknown("a gate scales its output")
    return _Reading(trace, a, layer, trace.block_run(layer)).head()


def _unknown(why: str) -> NoReturn:
    raise AttnVizError(
        f"The lab can't follow how this layer gets from its input to its heads: {why}.",
        "Choose another layer, or look at it in Explore.",
    )


class _Reading:
    """A head while its steps are put together. All tensors are float32 on the CPU, (n, d)."""

    def __init__(self, trace: Trace, a: AttentionMap, layer: int, run: BlockRun) -> None:
        self.trace, self.a, self.layer, self.run = trace, a, layer, run
        self.item = a.item
        self.dtype = torch.float32 if a.record.q is None else a.record.q.dtype
        self.tolerance = TOLERANCES.get(self.dtype, TOLERANCES[torch.float32])
        self.missing: list[str] = []

    def head(self) -> RealHead:
        """All steps, from the input to what the block goes on with."""
        a = self.a
        angles = self._angles(a.n_q, a.n_k)
        q_from = self._source(a.q, "queries", angles and angles[0])
        k_from = self._source(a.k, "keys", angles and angles[1])
        v_from = self._source(a.v, "values", None)
        given, memory = q_from.projection.given, k_from.projection.given
        if not same(v_from.projection.given, memory, self.tolerance):
            _unknown("its keys and values are made of different vectors")
        crossing = memory.shape != given.shape or not same(memory, given, self.tolerance)
        steps = self._input(given)
        steps |= self._vectors("q", q_from, given, angles and angles[0])
        steps |= self._vectors("k", k_from, memory, angles and angles[1])
        steps |= self._vectors("v", v_from, memory, None)
        if crossing:
            steps["context"] = memory
        steps |= self._scores(steps, q_from.multiplier)
        steps |= self._output(steps)
        return self._made(steps, q_from, crossing)

    # ---- from the input to Q, K and V ------------------------------------------------------------

    def _angles(self, n_q: int, n_k: int) -> tuple[Angles, Angles] | None:
        """RoPE's angles of the queries and of the keys."""
        given = next((run.angles for run in self.run.modules if run.angles), None)
        if given is None:
            return None
        rows = [next(token_rows(t, min(self.item, len(t) - 1))) for t in given]
        if {len(t) for t in rows} != {max(n_q, n_k)}:
            return None
        (cos_q, sin_q), (cos_k, sin_k) = (tuple(t[-n:] for t in rows) for n in (n_q, n_k))
        return (cos_q, sin_q), (cos_k, sin_k)

    def _source(self, vectors: Tensor, what: str, angles: Angles | None) -> VectorSource:
        v = _plain(vectors)
        found = source_of(v, self.run.modules, self.item, angles, self.tolerance)
        if found is None:
            _unknown(f"no linear map of its block gives its {what}")
        return found

    def _input(self, given: Tensor) -> dict[str, Any]:
        """X, and what became of it before it was projected."""
        for run in reversed(self.run.modules):
            if is_norm(run) and run.given and self._is(run.out, given):
                x = self._like(run.given[0], given)
                if x is not None:
                    return {"norm_kind": _norm_kind(run), "normed": given, **self._embedded(x)}
        return self._embedded(given)

    def _embedded(self, x: Tensor) -> dict[str, Any]:
        """X, taken apart where it is a token's embedding and a position's."""
        tables = [t for run in self.run.embeddings if (t := self._like(run.out, x)) is not None]
        names = [r.name for r in self.run.embeddings if self._like(r.out, x) is not None]
        if len(tables) == 2 and same(tables[0] + tables[1], x, self.tolerance):
            at = 0 if "pos" in names[0] or "wpe" in names[0] else 1
            return {"x": tables[1 - at], "position_vectors": tables[at], "embedded": x}
        return {"x": x}

    def _vectors(
        self, name: str, source: VectorSource, given: Tensor, angles: Angles | None
    ) -> dict[str, Any]:
        """Q, K or V, computed; with the head's part of the weights."""
        projection = source.projection
        steps: dict[str, Any] = {f"w_{name}": projection.weight}
        if projection.bias is not None:
            steps[f"b_{name}"] = projection.bias[None]
        x = projection(given)
        if source.norm is not None:
            steps[f"{name}_projected"] = x
            x = self._normed(source.norm, x)
        if source.rotation and angles is not None:
            steps[f"{name}_normed" if source.norm is not None else f"{name}_projected"] = x
            x = rotated(x, angles, source.rotation)
        return {**steps, name: x}

    def _normed(self, norm: torch.nn.Module, x: Tensor) -> Tensor:
        weight = next(iter(norm.parameters()), None)
        if weight is not None and weight.shape[-1] != x.shape[1]:
            _unknown("its QK-norm spans all heads")
        like = x if weight is None else x.to(weight)
        with torch.no_grad():
            return _plain(norm(like))

    # ---- from Q and K to the weights -------------------------------------------------------------

    def _scores(self, steps: dict[str, Any], multiplier: float) -> dict[str, Any]:
        modifiers, a = self.a.record.modifiers, self.a
        assert modifiers is not None
        at = (self.item, slice(a.head, a.head + 1), slice(0, a.n_q), slice(0, a.n_k))
        hidden = a.masked()
        mask = None if hidden is None or not hidden.any() else ~hidden.cpu()
        raw = steps["q"] @ steps["k"].T
        s = scaled = raw * (modifiers.scaling * multiplier)
        made: dict[str, Any] = {"scores_raw": raw, "scores_scaled": scaled}
        if modifiers.softcap is not None:
            s = made["scores_capped"] = soft_cap(s, modifiers.softcap)
        added = torch.zeros(1, a.n_q, a.n_k, device=a.record.device)
        for term in modifiers.terms:
            term.add_to(added, *at)
        bias = _plain(added[0])
        if mask is not None:
            bias = bias.masked_fill(~mask, 0.0)
        if bool(bias.any()):
            made["bias"] = bias
            s = s + bias
        if mask is not None:
            made["mask"] = mask
            s = s.masked_fill(~mask, -torch.inf)
        sink = modifiers.sink_scores(*at[:3])
        if sink is not None:
            if sink.shape[1] > 1:
                _unknown("its sink depends on the query")
            made["sink"] = sink.reshape(1).float().cpu()
        weights, of_sink = softmax(s[None, None], made.get("sink"))
        if of_sink is not None:
            made["sink_weights"] = of_sink[0, 0]
        return {**made, "scores": s, "weights": weights[0, 0]}

    # ---- from the weights to the output ----------------------------------------------------------

    def _output(self, steps: dict[str, Any]) -> dict[str, Any]:
        """The head's output, what it adds to the residual stream, and what the layer does."""
        heads = steps["weights"] @ steps["v"]
        found = output_projection(
            _plain(self.a.output()), self.run.modules, self.item, self.tolerance
        )
        if found is None:
            self.missing.append("how its output returns to the residual stream")
            return {"heads": heads, "output": heads}
        w_o, run = found
        concat = next(token_rows(run.given[0], self.item))
        projected = next(token_rows(run.out, self.item))
        made: dict[str, Any] = {
            "heads": heads,
            "w_o": w_o,
            "contribution": heads @ w_o,
            "concat": concat,
            "projected": projected,
            "output": projected,
        }
        normed = steps.get("normed", steps["x"])
        if normed.shape == projected.shape and self._norm_of(normed + projected) is not None:
            # What was normed is the stream itself: that norm ended the sublayer before.
            self._enters_as(steps, normed)
        x = steps.get("embedded", steps["x"])
        if x.shape == projected.shape:
            made |= self._residual(x + projected, "normed" in steps)
        return made

    def _enters_as(self, steps: dict[str, Any], x: Tensor) -> None:
        if steps.pop("normed", None) is not None:
            for name in ("norm_kind", "position_vectors", "embedded"):
                steps.pop(name, None)
            steps["x"] = x

    def _norm_of(self, total: Tensor) -> ModuleRun | None:
        """The run of a norm that was given these vectors."""
        runs = (run for run in self.run.modules if is_norm(run) and run.given)
        return next((run for run in runs if self._is(run.given[0], total)), None)

    def _residual(self, total: Tensor, is_pre: bool) -> dict[str, Any]:
        """X + Y, where the block goes on with it; and its norm, where that comes after."""
        run, block = self._norm_of(total), self.run.modules[-1]
        if run is None:  # a block of attention alone ends with the sum
            return {"residual_sum": total, "output": total} if self._is(block.out, total) else {}
        normed = self._like(run.out, total)
        ends_normed = any(
            is_norm(one) and _same_tensor(one.out, block.out) for one in self.run.modules
        )
        if is_pre or normed is None or not ends_normed:  # the next sublayer's norm
            return {"residual_sum": total, "output": total}
        after = {"post_normed": normed, "norm_kind": _norm_kind(run), "output": normed}
        return {"residual_sum": total, **after}

    # ---- the result ------------------------------------------------------------------------------

    def _made(self, steps: dict[str, Any], q_from: VectorSource, crossing: bool) -> RealHead:
        a, trace = self.a, self.trace
        config = self._config(steps, q_from, crossing)
        weights_error = float((steps["weights"] - _plain(a.weights())).abs().max())
        own = _plain(a.output())
        output_error = float((steps["heads"] - own).abs().max())
        most = WEIGHTS_TOLERANCE.get(self.dtype, WEIGHTS_TOLERANCE[torch.float32])
        if not (weights_error <= most and same(steps["heads"], own, self.tolerance)):
            _unknown(
                f"the recomputed weights are {weights_error:.1e} from the model's, more than "
                "rounding"
            )
        shown = trace.layers[self.layer]
        return RealHead(
            AttentionSteps(config=config, **_batched(steps)),
            config,
            tuple(t.shown for t in trace.row_tokens(self.layer, self.item)),
            tuple(t.shown for t in trace.col_tokens(self.layer, self.item)),
            f"Layer {shown.index}, head {a.head}",
            weights_error,
            output_error,
            tuple(self.missing),
        )

    def _config(
        self, steps: dict[str, Any], q_from: VectorSource, crossing: bool
    ) -> AttentionConfig:
        modifiers, d_head = self.a.record.modifiers, steps["q"].shape[1]
        assert modifiers is not None
        shown = self.trace.layers[self.layer]
        scaling = modifiers.scaling * q_from.multiplier
        positions: Literal["learned", "rope", "none"] = "none"
        if "position_vectors" in steps:
            positions = "learned"
        elif q_from.rotation:
            positions = "rope"
        norm: Literal["pre", "post", "none"] = "pre" if "normed" in steps else "none"
        return AttentionConfig(
            d_model=steps["x"].shape[1],
            n_heads=shown.n_heads,
            n_kv_heads=shown.n_kv_heads,
            d_head=d_head,
            bias="b_q" in steps or "b_v" in steps,
            scale="sqrt" if abs(scaling - d_head**-0.5) < 1e-6 * scaling else scaling,
            qk_norm=q_from.norm is not None,
            softcap=modifiers.softcap,
            sink="sink" in steps,
            mask="none" if "mask" not in steps else "causal",
            positions=positions,
            residual="residual_sum" in steps,
            norm="post" if "post_normed" in steps else norm,
            norm_kind=steps.pop("norm_kind", "layer"),
        )

    def _is(self, t: Tensor, rows: Tensor) -> bool:
        like = self._like(t, rows)
        return like is not None and same(like, rows, self.tolerance)

    def _like(self, t: Tensor, rows: Tensor) -> Tensor | None:
        """A module's tensor as rows of tokens, if it has the shape of these."""
        item = min(self.item, t.shape[0] - 1)
        return next((r for r in token_rows(t, item) if r.shape == rows.shape), None)


_PER_HEAD: Final = {
    "q_projected", "k_projected", "q_normed", "k_normed", "q", "k", "v", "scores_raw",
    "scores_scaled", "scores_capped", "bias", "mask", "scores", "weights", "heads", "sink_weights",
}  # fmt: skip


def _batched(steps: dict[str, Any]) -> dict[str, Any]:
    """With a batch, and a head where there are heads, of size 1."""
    return {
        name: t if name == "sink" else t[None, None] if name in _PER_HEAD else t[None]
        for name, t in steps.items()
    }


def _norm_kind(run: ModuleRun) -> Literal["layer", "rms"]:
    return "rms" if "rms" in type(run.module).__name__.lower() else "layer"


def _same_tensor(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _plain(t: Tensor) -> Tensor:
    return t.detach().float().cpu()
