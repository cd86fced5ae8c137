"""Explore's view as Python that a person can run, read and change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.trace.trace import AttentionLayer

_LOOKS = {
    "Map": ("a.weights()", "(n_q, n_k): rows are queries, columns keys"),
    "Scores": ("a.scores()", "(n_q, n_k), before the softmax; -inf where masked"),
    "Q": ("a.q", "(n_q, d_head), as they enter the product"),
    "K": ("a.k", "(n_k, d_head), as they enter the product"),
    "V": ("a.v", "(n_k, d_v)"),
    "Output": ("a.output()", "(n_q, d_v): weights @ V"),
}


def code(
    choice: ModelChoice,
    request: TraceRequest,
    layer: AttentionLayer,
    head: int,
    view: str,
    query: int | None = None,
) -> str:
    """A program that makes the same request and prints what the view shows.

    Args:
        query: the one that the neuron view is about; by default the last.
    """
    lines = ["import attnviz", ""]
    if request.image_digest:
        lines = ["from PIL import Image", "", *lines]
    lines += [
        f"model = attnviz.load({choice.name!r}, device={choice.device!r}, dtype={choice.dtype!r})",
        *_traced(request),
        f"a = trace.attention(layer={layer.index}, head={head})",
        "",
        *_look(layer, view, layer.n_q - 1 if query is None else query),
        f"print(trace.fidelity(layer={layer.index}))",
        "",
    ]
    return "\n".join(lines)


def _traced(request: TraceRequest) -> list[str]:
    how = request.sampling
    if request.image_digest:
        return [
            'image = Image.open("image.png")',
            "trace = model.trace(image=image)",
        ]
    text = repr(request.text)
    if how is None:
        more = {"target": request.target, "pair": request.pair}
        given = "".join(f", {name}={value!r}" for name, value in more.items() if value)
        return [f"trace = model.trace({text}{given})"]
    given = ""
    if how.temperature:
        given = f", temperature={how.temperature}, top_k={how.top_k or None}, top_p={how.top_p}"
        given += f", seed={how.seed}"
    return [
        f"made = model.generate({text}, max_new_tokens={how.tokens}{given})",
        "trace = made.trace",
    ]


def _look(layer: AttentionLayer, view: str, query: int) -> list[str]:
    if view == "Lines":
        return [
            f"for head in range({layer.n_heads}):  # every weight that is a line",
            f"    w = trace.attention(layer={layer.index}, head=head).weights()",
            "    for i, j in (w >= 0.01).nonzero().tolist():",
            "        print(head, i, j, w[i, j].item())",
        ]
    if view == "Neuron":
        return [
            f"query = {query}",
            "product = a.q[query] * a.k  # (n_k, d_head), element by element",
            "print(product.sum(dim=1))  # (n_k,): q · k",
            "print(a.scores(slice(query, query + 1))[0])",
            "print(a.weights(slice(query, query + 1))[0])",
        ]
    call, what = _LOOKS[view]
    return [f"print({call})  # {what}"]
