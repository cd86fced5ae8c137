"""What a page shows as a Python program that anyone can run, read and change.

`trace_code` is Explore's view, `lab_code` and `head_code` the Layer lab's; all they need is
attnviz.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from attnviz.analysis.lab import PADDING, Lab, Part
from attnviz.models import catalog
from attnviz.nn import AttentionConfig

if TYPE_CHECKING:
    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.trace.trace import AttentionLayer

_EXPRESSIONS = {
    "Map": ("a.weights()", "(n_q, n_k): rows are queries, columns keys"),
    "Scores": ("a.scores()", "(n_q, n_k), before the softmax; -inf where masked"),
    "Q": ("a.q", "(n_q, d_head), as they enter the product"),
    "K": ("a.k", "(n_k, d_head), as they enter the product"),
    "V": ("a.v", "(n_k, d_v)"),
    "Output": ("a.output()", "(n_q, d_v): weights @ V"),
}


def trace_code(
    choice: ModelChoice,
    request: TraceRequest,
    layer: AttentionLayer,
    head: int,
    view: str,
    query: int | None = None,
) -> str:
    """A program that makes the same request and prints the numbers of the view.

    Args:
        view: a name of the view, as on Explore's control: "Map", "Lines", "Neuron", "Q", ...
        query: the query of the neuron view; by default the last.
    """
    lines = ["import attnviz", ""]
    if request.image_digest:
        lines = ["from PIL import Image", "", *lines]
    lines += [
        f"model = attnviz.load({_from_anywhere(choice.name)!r}, device={choice.device!r}, "
        f"dtype={choice.dtype!r})",
        *_trace_lines(request),
        f"a = trace.attention(layer={layer.index}, head={head})",
        "",
        *_view_lines(layer, view, layer.n_q - 1 if query is None else query),
        f"print(trace.fidelity(layer={layer.index}))",
        "",
    ]
    return "\n".join(lines)


def head_code(choice: ModelChoice, request: TraceRequest, layer: int, head: int) -> str:
    """A program that computes one head of a model step by step, as the Layer lab shows it."""
    return "\n".join(
        [
            "import attnviz",
            "from attnviz.analysis.real_head import real_head",
            "",
            f"model = attnviz.load({_from_anywhere(choice.name)!r}, device={choice.device!r}, "
            f"dtype={choice.dtype!r})",
            *_trace_lines(request),
            f"head = real_head(trace, layer={layer}, head={head})",
            "",
            "for stage in head.steps.stages:",
            "    print(stage.name, tuple(stage.value.shape), stage.formula)",
            "print(head.steps.weights[0, 0])  # (n_q, n_k): rows are queries, columns keys",
            "print(head.weights_error, head.output_error)  # from the trace's own",
            "",
        ]
    )


def _from_anywhere(name: str) -> str:
    """A model's name as it is; a path so that it is found from any folder."""
    known = any(entry.name == name for entry in catalog.entries())
    path = Path(name)
    return name if known or not path.exists() else str(path.resolve())


def _trace_lines(request: TraceRequest) -> list[str]:
    if request.image_digest:
        return [
            'image = Image.open("image.png")',
            "trace = model.trace(image=image)",
        ]
    text, sampling = repr(request.text), request.sampling
    if sampling is None:
        texts = {"target": request.target, "pair": request.pair}
        options = "".join(f", {name}={value!r}" for name, value in texts.items() if value)
        return [f"trace = model.trace({text}{options})"]
    options = ""
    if sampling.temperature:
        options = (
            f", temperature={sampling.temperature}, top_k={sampling.top_k or None}, "
            f"top_p={sampling.top_p}, seed={sampling.seed}"
        )
    return [
        f"made = model.generate({text}, max_new_tokens={sampling.tokens}{options})",
        "trace = made.trace",
    ]


def _view_lines(layer: AttentionLayer, view: str, query: int) -> list[str]:
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
    if view == "Image":
        return [
            f"query = {query}",
            "weights = a.weights(slice(query, query + 1))[0]  # (n_k,)",
            "patches = trace.image.layout  # their grid, and the position of the first",
            "print(weights[: patches.first])  # on the tokens before the patches",
            "on_patches = weights[patches.first :][: patches.n_patches]",
            "print(on_patches.view(patches.grid))  # (rows, columns)",
        ]
    call, what = _EXPRESSIONS[view]
    return [f"print({call})  # {what}"]


def lab_code(lab: Lab, head: int = 0) -> str:
    """A program that computes the numbers of ``lab.steps()`` and prints one head's weights."""
    paired = lab.architecture == "encoder-decoder"
    imports = ["from dataclasses import replace", ""] if paired else []
    imports += [
        "import torch",
        "",
        "from attnviz.analysis.lab import embed, layer_of",
        "from attnviz.nn import AttentionConfig",
    ]
    settings = [f"config = {_config_call(lab.config)}", f"tokens = {list(lab.tokens)!r}"]
    if paired:
        settings += [f"context = {list(lab.context)!r}"]
    work = (
        _paired_lines(lab)
        if paired
        else _stack_lines(lab, "config", "tokens", lab.layer, "decoder")
    )
    return "\n".join(
        [
            *imports,
            "",
            *settings,
            "",
            "with torch.inference_mode():",
            indent("\n".join(work), "    "),
            "",
            f"print(steps.weights[0, {head}])  # (n_q, n_k): rows are queries, columns keys",
            "",
        ]
    )


def _stack_lines(lab: Lab, config: str, tokens: str, last: int, part: Part) -> list[str]:
    """A stack of layers over one text, up to layer ``last``."""
    argument = "" if part == "decoder" else f', "{part}"'
    lines, padding = [], ""
    if lab.padding:
        lines += [
            f"real = torch.tensor([[1] * len({tokens}) + [0] * {lab.padding}])  # (1, n_k)",
            f'{tokens} = {tokens} + ["{PADDING}"] * {lab.padding}',
        ]
        padding = ", padding=real"
    lines += [f"x = embed({tokens}, config.d_model, config.seed)  # (1, n, d_model)"]
    if last:
        lines += [
            f"for depth in range({last}):",
            f"    x = layer_of({config}, depth{argument}).explain(x{padding}).output",
        ]
    return [*lines, f"steps = layer_of({config}, {last}{argument}).explain(x{padding})"]


def _paired_lines(lab: Lab) -> list[str]:
    """An encoder stack, then the decoder stack that attends to its output."""
    last = lab.layer if lab.part == "encoder" else lab.layers - 1
    lines = ['encoder = replace(config, mask="none")']
    lines += _stack_lines(lab, "encoder", "context", last, "encoder")
    if lab.part == "encoder":
        return lines
    memory = "memory, real" if lab.padding else "memory"
    lines += [
        "memory = steps.output  # (1, n_k, d_model)",
        "",
        "own = replace(config, feed_forward=False)  # it comes after the cross-attention",
        'across = replace(config, mask="none", positions="none")',
        "x = embed(tokens, config.d_model, config.seed)  # (1, n_q, d_model)",
    ]
    if lab.layer:
        lines += [
            f"for depth in range({lab.layer}):",
            "    x = layer_of(own, depth).explain(x).output",
            f'    x = layer_of(across, depth, "cross").explain(x, {memory}).output',
        ]
    lines += [f"steps = layer_of(own, {lab.layer}).explain(x)"]
    if lab.part == "cross":
        crossing = f'layer_of(across, {lab.layer}, "cross")'
        lines += [f"steps = {crossing}.explain(steps.output, {memory})"]
    return lines


def _config_call(config: AttentionConfig) -> str:
    """The constructor call of a config, without the arguments that have their defaults."""
    shape = ("d_model", "n_heads")
    given = [
        f"    {field.name}={getattr(config, field.name)!r},"
        for field in fields(config)
        if field.name in shape or getattr(config, field.name) != field.default
    ]
    return "\n".join(["AttentionConfig(", *given, ")"])
