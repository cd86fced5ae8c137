"""A head of a model in the lab: its own weights, the text's own vectors, every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from attnviz.analysis.code_export import head_code
from attnviz.analysis.real_head import RealHead, real_head
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.head_choice import choose_head
from attnviz.ui.lab import hand_over
from attnviz.ui.lab.flow_view import flow
from attnviz.ui.lab.frame import to_take_home
from attnviz.ui.model_page import ModelPage
from attnviz.ui.request_controls import input_controls

if TYPE_CHECKING:
    from attnviz.nn import AttentionConfig

_LAST: Final = "_real_head"  # the last one that could be shown in this session
_STALE: Final = "Not what the controls say: the last head that could be shown."
_POSITIONS: Final = {
    "rope": "RoPE, which rotates Q and K",
    "learned": "learned vectors, added to the embeddings",
    "none": "none in this layer; X may carry them",
}
_NORMS: Final = {"pre": "before attention", "post": "after attention", "none": "none in this step"}


def model_head() -> None:
    """Draw the model's controls, the head's and its steps."""
    hand_over.receive()
    frame = ModelPage("A real head", "Every step of one head, with the model's own numbers.")
    page = frame.trace(input_controls)
    with st.sidebar:
        layer, head = choose_head(page.trace)
        facts = st.container()
    errors = st.container()
    found = attempt(
        lambda: page.memo(
            ("real head", layer.index, head), lambda: real_head(page.trace, layer.index, head)
        ),
        errors,
    )
    stale = "" if found else _STALE
    found = found or st.session_state.get(_LAST)
    frame.done()
    if found is None:
        st.stop()
    st.session_state[_LAST] = found
    with facts:
        _facts(found)
    _receipt(found)
    flow(found.steps, found, 0, stale)
    code = lambda: head_code(page.ref.choice, page.ref.request, layer.index, head)  # noqa: E731
    to_take_home(found.steps, found, code, "head")


def _receipt(head: RealHead) -> None:
    """How far the steps are from what the model computed."""
    st.caption(
        ":material/verified: Recomputed from the model's own weights and the input of "
        f"{escape_markdown(head.title.lower())}: attention weights {_within(head.weights_error)}, "
        f"the head's output {_within(head.output_error)}."
        + "".join(f" Not shown: {what}." for what in head.missing)
    )


def _within(error: float) -> str:
    return f"within {error:.0e} of the model's" if error else "identical to the model's"


def _facts(head: RealHead) -> None:
    """The layer's settings, which are the model's and can't be changed here."""
    st.markdown("**Read from the model**", help="These settings are the model's own.")
    st.markdown("\n".join(f"- {line}" for line in _lines(head.config, head)))


def _lines(config: AttentionConfig, head: RealHead) -> list[str]:
    shared = config.kv_heads != config.n_heads
    scale = "1/√d_head" if config.scale == "sqrt" else f"{config.scaling:.4g}"
    kind = "RMSNorm" if config.norm_kind == "rms" else "LayerNorm"
    norm = "" if config.norm == "none" else f"{kind} "
    lines = [
        f"d_model {config.d_model}, d_head {config.head_dim}",
        f"{config.n_heads} heads"
        + (f", {config.kv_heads} KV heads (grouped-query)" if shared else ""),
        f"Norm: {norm}{_NORMS[config.norm]}",
        f"Positions: {_positions(config, head)}",
        f"Scale: {scale}",
        "Bias: " + ("yes" if config.bias else "none"),
    ]
    if config.qk_norm:
        lines.append("QK-norm on queries and keys")
    if config.softcap is not None:
        lines.append(f"Softcap: ±{config.softcap:g}")
    if config.sink:
        lines.append("Sink: a learned logit per head")
    return lines


def _positions(config: AttentionConfig, head: RealHead) -> str:
    if head.steps.bias is not None:
        return "a bias on the scores"
    return _POSITIONS[config.positions]
