"""The sections of the Layer lab: the steps of a layer, each with its formula and its matrices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import streamlit as st

from attnviz.glossary import term
from attnviz.nn import AttentionConfig


@dataclass(frozen=True)
class Section:
    """A step of the layer.

    Attributes:
        line: what it does, in one line.
        formula: LaTeX, with the terms that the settings add.
        stages: names of the matrices that it shows, in this order.
    """

    title: str
    line: str
    formula: str
    stages: tuple[str, ...]
    terms: tuple[str, ...] = ()  # of the glossary, which its heading explains

    @property
    def help(self) -> str:
        """What the glossary says of its terms."""
        return " ".join(term(name) for name in self.terms)


def formula_list(config: AttentionConfig, crossing: bool, shown: Collection[str]) -> None:
    """Draw the formula of each step that has one of the ``shown`` matrices."""
    named = [s for s in sections(config, crossing) if set(s.stages) & set(shown)]
    for number, section in enumerate(named, 1):
        st.markdown(f"**{number} · {section.title}** &emsp; $\\displaystyle {section.formula}$")


def sections(config: AttentionConfig, crossing: bool) -> tuple[Section, ...]:
    """The steps of a layer with these settings, in order.

    Args:
        crossing: whether keys and values come from another text (cross-attention).
    """
    return (*_before_weights(config, crossing), *_from_weights(config))


def _before_weights(config: AttentionConfig, crossing: bool) -> tuple[Section, ...]:
    queries_from = r"\hat X" if config.norm == "pre" else "X"
    keys_from = "C" if crossing else queries_from
    bias = _bias(config)
    entering = r"X \in \mathbb{R}^{n \times d_{model}}"
    if config.norm == "pre":
        entering = rf"\hat X = {_norm(config)}(X)"
    return (
        Section(
            "Input",
            "One row per token.",
            entering,
            ("x", "position_vectors", "embedded", "normed", "context"),
            ("token", "residual"),
        ),
        Section(
            "Queries, keys, values",
            "What each token looks for (Q), offers (K) and passes on (V).",
            rf"{{Q = {queries_from}W_Q{bias}}} \quad {{K = {keys_from}W_K{bias}}} \quad "
            rf"{{V = {keys_from}W_V{bias}}}",
            (
                *("w_q", "w_k", "w_v", "b_q", "b_k", "b_v"),
                *("q_projected", "q_normed", "q", "k_projected", "k_normed", "k", "v"),
            ),
            ("query", "key", "value"),
        ),
        Section(
            "Scores",
            "Dot product of every query with every key.",
            f"{{S = {_scores(config, crossing)}}}",
            # The dot products alone would be the same picture as the scaled ones.
            ("scores_scaled", "scores_capped", "bias"),
            ("score",),
        ),
        Section(
            "Mask",
            "Scores of keys a query can't attend to become −∞.",
            r"{S_{ij} \leftarrow -\infty \text{ where masked}}",
            ("mask", "scores"),
            ("mask",),
        ),
    )


def _from_weights(config: AttentionConfig) -> tuple[Section, ...]:
    return (
        Section(
            "Weights",
            "Softmax turns each row of scores into weights that sum to 1.",
            r"{A_{ij} = \frac{e^{S_{ij}}}{\sum_k e^{S_{ik}}"
            + (" + e^{s}}}" if config.sink else "}}"),
            ("sink_weights", "weights", "weights_dropped"),
            ("weight", *(("sink",) if config.sink else ())),
        ),
        Section(
            "Head outputs",
            "Each query's weighted sum of values.",
            "{O = AV}",
            ("heads",),
            ("output",),
        ),
        Section(
            "Output projection",
            "The heads' outputs, concatenated and multiplied by W_O.",
            rf"{{Y = [O_0; \dots; O_{{{config.n_heads - 1}}}]\,W_O{_bias(config)}}}",
            ("w_o", "contribution", "concat", "projected"),
        ),
        Section(
            "Residual and norm",
            "Adds the attention output to the residual stream.",
            rf"{{Z = {_leaving(config)}}}",
            ("residual_sum", "post_normed"),
            ("residual",),
        ),
        Section(
            "Feed-forward",
            "A position-wise MLP.",
            r"{F = \operatorname{act}(Z W_{up})\,W_{down}}",
            tuple(
                f"feed_forward.{name}"
                for name in ("normed", "hidden", "projected", "residual_sum", "post_normed")
            ),
        ),
    )


def _scores(config: AttentionConfig, crossing: bool) -> str:
    """Scaled, tempered, capped and biased, as far as the settings say so."""
    scores = {"sqrt": r"\frac{QK^T}{\sqrt{d_{head}}}", "none": "QK^T"}.get(
        str(config.scale), rf"{config.scale} \cdot QK^T"
    )
    if config.temperature != 1:
        scores = rf"\frac{{1}}{{{config.temperature:g}}} \cdot {scores}"
    if config.softcap is not None:
        cap = f"{config.softcap:g}"
        scores = rf"{cap}\tanh\!\left({scores} \,/\, {cap}\right)"
    if config.positions in ("alibi", "t5") and not crossing:
        scores += " + B"
    return scores


def _leaving(config: AttentionConfig) -> str:
    leaving = "X + Y" if config.residual else "Y"
    return rf"{_norm(config)}({leaving})" if config.norm == "post" else leaving


def _norm(config: AttentionConfig) -> str:
    return r"\operatorname{RMSNorm}" if config.norm_kind == "rms" else r"\operatorname{LayerNorm}"


def _bias(config: AttentionConfig) -> str:
    return "+b" if config.bias else ""
