"""From recorded calls to a trace: names, kinds, towers and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from attnviz.models.tokens import Token
from attnviz.trace import model_inputs
from attnviz.trace.call import Call
from attnviz.trace.image_input import ImageInput, image_input
from attnviz.trace.patch_layout import patch_layout
from attnviz.trace.prediction import PredictionHead
from attnviz.trace.replay import Replay
from attnviz.trace.residual_stream import Stream, towers
from attnviz.trace.structure import kind_of, modality_of
from attnviz.trace.trace import Trace

if TYPE_CHECKING:
    from attnviz.trace.model import Model


def assemble_trace(
    model: Model,
    calls: Sequence[Call],
    stream: Stream,
    prepared: model_inputs.PreparedInputs,
    logits: Tensor | None,
    keep_attention: bool,
    replay: Replay | None = None,
    head: PredictionHead | None = None,
) -> Trace:
    """A trace from what was recorded.

    Args:
        head: how the logits are read; by default as next tokens.
    """
    if not keep_attention:
        reason = 'the trace was made without "qkv"'
        calls = [Call(c.module, None, None, "refused", reason) for c in calls]
    module = model.module
    names = [model.name_of(c.module) for c in calls]
    kinds = [kind_of(module, n, c.module) for n, c in zip(names, calls, strict=True)]
    modalities = [modality_of(module, name) for name in names]
    shapes = [(0, 0, 0, 0) if c.layer is None else c.layer.shape for c in calls]
    described = list(zip(kinds, modalities, shapes, strict=True))
    n_patches = next((s[2] for _, what, s in described if what == "image" and s[2]), None)
    labels = model_inputs.labels(model.loaded, prepared, n_patches)
    on_whole_text = [
        (name, shape)
        for name, (kind, modality, shape) in zip(names, described, strict=True)
        if modality == "text" and kind != "cross" and shape[0] == prepared.batch
    ]
    return Trace(
        calls=calls,
        names=names,
        kinds=kinds,
        axes=[labels.axes(*layer) for layer in described],
        towers=towers(stream, on_whole_text),
        tokens=prepared.tokens or labels.image,
        target_tokens=prepared.target_tokens,
        labels=labels,
        logits=logits,
        head=head or PredictionHead("next", model.tokenizer),
        replay=replay,
        image=_image(model, prepared, labels.image),
    )


def _image(
    model: Model, prepared: model_inputs.PreparedInputs, tokens: Sequence[Token]
) -> ImageInput | None:
    """The image that was traced, if it was one."""
    pixels = prepared.tensors.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or len(pixels) != 1:
        return None
    layout = patch_layout(model.module, pixels, tokens)
    return image_input(pixels, layout, prepared.image, model.processor)
