"""The Layer lab's view as Python that a person can run, read and change."""

from __future__ import annotations

from dataclasses import fields
from textwrap import indent

from attnviz.analysis.lab import PADDING, Lab, Part
from attnviz.nn import AttentionConfig


def code(lab: Lab, head: int = 0) -> str:
    """A program that computes ``lab.steps()``, the same numbers, and prints one head's weights."""
    paired = lab.architecture == "encoder-decoder"
    imports = ["from dataclasses import replace", ""] if paired else []
    imports += [
        "import torch",
        "",
        "from attnviz.analysis.lab import embed, layer_of",
        "from attnviz.nn import AttentionConfig",
    ]
    settings = [f"config = {_call(lab.config)}", f"tokens = {list(lab.tokens)!r}"]
    if paired:
        settings += [f"context = {list(lab.context)!r}"]
    work = _paired(lab) if paired else _stack(lab, "config", "tokens", lab.layer, "decoder")
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


def _stack(lab: Lab, config: str, tokens: str, last: int, part: Part) -> list[str]:
    """A stack of layers over one text, up to the layer ``last``."""
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


def _paired(lab: Lab) -> list[str]:
    """An encoder's stack, then the decoder's that reads its output."""
    last = lab.layer if lab.part == "encoder" else lab.layers - 1
    lines = ['encoder = replace(config, mask="none")']
    lines += _stack(lab, "encoder", "context", last, "encoder")
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


def _call(config: AttentionConfig) -> str:
    """The settings as the call that makes them; those at their defaults are left out."""
    shape = ("d_model", "n_heads")
    given = [
        f"    {field.name}={getattr(config, field.name)!r},"
        for field in fields(config)
        if field.name in shape or getattr(config, field.name) != field.default
    ]
    return "\n".join(["AttentionConfig(", *given, ")"])
