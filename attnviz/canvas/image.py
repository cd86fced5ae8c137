"""One head's attention on the image itself: as it was given, and as the model got it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnviz.analysis.arrays import as_numpy
from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits
from attnviz.canvas.memo import Memo, uncached
from attnviz.canvas.naming import (
    TextAxis,
    col_axis,
    layer_name,
    row_axis,
    token_names,
    trace_id,
)
from attnviz.errors import AttnVizError
from attnviz.models.image_geometry import Box
from attnviz.trace import Trace
from attnviz.trace.image_input import ImageInput
from attnviz.trace.patch_layout import PatchLayout

MAX_CODES = 4_000_000  # weights that are sent, 8 MB: all rows of up to 2,000 positions


@dataclass(frozen=True)
class ImagePayload:
    """A head's weights and the image whose patches they are of.

    Attributes:
        picture: id of the image; have: that of the image that the browser has, so that it need not
            be sent again.
        given: (h, w, 3) uint8, the image as it was given, perhaps made smaller; None if the model
            was given tensors. size: (width, height) of it in full.
        seen: (h, w, 3) uint8, the model's input as pixels.
        box: the part of the image that fills the input, in pixels of the full image; None if
            unknown.
        layout: the patches among the keys, and, if ``self_attention``, among the queries.
        codes: (rows, n_k) uint16 of the queries from ``first_row``.
        query: the one in focus.
        words: what happened to the image on its way, sentence by sentence.
    """

    id: str
    title: str
    picture: str
    given: np.ndarray | None
    size: tuple[int, int]
    seen: np.ndarray
    box: Box | None
    layout: PatchLayout
    self_attention: bool
    codes: np.ndarray
    first_row: int
    query: int | None
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    row_axis: TextAxis
    col_axis: TextAxis
    words: tuple[str, ...]
    have: str = ""

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        layout = self.layout
        header = {
            "mode": "image",
            "id": self.id,
            "title": self.title,
            "picture": self.picture,
            "size": self.size,
            "box": self.box,
            "input": self.seen.shape[1::-1],
            "grid": layout.grid,
            "patch": layout.patch,
            "first": layout.first,
            "selfAttention": self.self_attention,
            "codec": SignificantDigits().header(),
            "firstRow": self.first_row,
            "query": self.query,
            "rowNames": self.row_names,
            "colNames": self.col_names,
            "rowAxis": self.row_axis.header(),
            "colAxis": self.col_axis.header(),
            "words": self.words,
        }
        arrays = {"codes": self.codes}
        if self.have != self.picture:
            arrays["seen"] = self.seen
            if self.given is not None:
                arrays["given"] = self.given
        return wire.pack({**header, **display}, arrays)


def image_payload(
    trace: Trace,
    layer: int,
    head: int,
    query: int | None = None,
    *,
    max_codes: int = MAX_CODES,
    memo: Memo = uncached,
) -> ImagePayload:
    """One head of one layer whose keys are the patches of an image.

    Args:
        query: the row in focus. Of a large image, the rows around it are sent.
        max_codes: weights that are sent, at most.
        memo: caches the weights.

    Raises:
        AttnVizError: no such layer or head, or one whose keys aren't the patches of one image.
    """
    a = trace.attention(layer, head)
    image, layout = _image_of(trace, layer)
    n_rows = max(1, min(a.n_q, max_codes // a.n_k))
    first = min(max(0, (query or 0) - n_rows // 2), a.n_q - n_rows) if n_rows < a.n_q else 0
    rows = slice(first, first + n_rows)
    geometry = image.geometry
    return ImagePayload(
        id=f"{trace_id(trace)}/{layer}/{head}/{first}",
        title=f"{layer_name(trace, layer)}, head {head}",
        picture=f"{trace_id(trace)}/image",
        given=image.given,
        size=image.size,
        seen=image.seen,
        box=None if geometry is None else geometry.box,
        layout=layout,
        self_attention=trace.row_tokens(layer) == trace.col_tokens(layer),
        codes=memo(("image", layer, head, first), lambda: _codes(trace, layer, head, rows)),
        first_row=first,
        query=query,
        row_names=token_names(trace.row_tokens(layer)),
        col_names=token_names(trace.col_tokens(layer)),
        row_axis=row_axis(trace, layer),
        col_axis=col_axis(trace, layer),
        words=journey(image, layout),
    )


def shows_image(trace: Trace, layer: int) -> bool:
    """Whether a layer's keys are the patches of one image, so that it has an `image_payload`."""
    return trace.image is not None and not lacks_grid(trace, layer)


def lacks_grid(trace: Trace, layer: int) -> str:
    """Why a layer's weights can't be drawn on the image; empty if they can, or without an image."""
    image, shown = trace.image, trace.layers[layer]
    if image is None or shown.source == "refused":
        return ""
    if shown.n_items > 1:
        return (
            f"Layer {layer} works on {shown.n_items} windows of the image, not on one grid of "
            "patches, so its weights are not drawn on the image."
        )
    if shown.cols != "image":
        return (
            f"The keys of layer {layer} are not patches, so its weights are not drawn on the image."
        )
    if image.layout is None:
        return (
            "This model's positions are not one for each patch, so its weights are not drawn on "
            "the image."
        )
    return ""


def journey(image: ImageInput, layout: PatchLayout) -> tuple[str, ...]:
    """What happened to an image from the file to the patches, sentence by sentence."""
    height, width = image.pixels.shape[1:]
    words = []
    if image.changes:
        words.append(f"File: {', '.join(image.changes)}.")
    words += _processing(image)
    rows, columns = layout.grid
    ph, pw = layout.patch
    words.append(f"{rows} × {columns} patches of {ph} × {pw} px.")
    dropped = [
        f"{n} px at the {edge}"
        for n, edge in ((width - columns * pw, "right"), (height - rows * ph, "bottom"))
        if n > 0
    ]
    if dropped:
        words.append(f"No patch covers the last {' and the last '.join(dropped)}.")
    words.append(
        "Checked: changing a patch's pixels changes its own token and no other."
        if layout.checked
        else "Patches are placed by the model's configuration; this was not checked."
    )
    return tuple(words)


def _processing(image: ImageInput) -> list[str]:
    """What the processor did, in words."""
    height, width = image.pixels.shape[1:]
    geometry = image.geometry
    if geometry is None:
        if image.given is None:
            return ["Only tensors were given: the lowest value is black, the highest white."]
        return ["How the processor places the image is not known, so both are shown apart."]
    words = []
    left, top, right, bottom = geometry.box
    inside = (max(0.0, left), max(0.0, top), min(image.size[0], right), min(image.size[1], bottom))
    if geometry.is_cropped:
        words.append(
            f"Cropped to x {inside[0]:.0f} to {inside[2]:.0f}, y {inside[1]:.0f} to "
            f"{inside[3]:.0f} (the frame)."
        )
    else:
        words.append("Not cropped.")
    if geometry.is_padded:
        own = geometry.content
        padding = (own[0], own[1], width - own[2], height - own[3])
        sides = zip(padding, ("left", "top", "right", "bottom"), strict=True)
        padded = ", ".join(f"{n} px at the {side}" for n, side in sides if n)
        words.append(f"Padded by {padded}.")
    x, y = width / (right - left), height / (bottom - top)
    if abs(x - y) > 0.01 * y:
        words.append(f"Stretched: {_times(x)} in width, {_times(y)} in height.")
    elif abs(x - 1) > 1e-3:
        words.append(f"Resized {_times(x)}.")
    words.append(
        "Inverted: light becomes dark."
        if geometry.is_inverted
        else "Light stays light (not inverted)."
    )
    if not geometry.channels and len(image.pixels) == 1:
        words.append("The model reads brightness alone, no color.")
    elif geometry.channels == (2, 1, 0):
        words.append("The model reads blue before red; colors are shown as they are.")
    return words


def _times(factor: float) -> str:
    return f"× {factor:.3g}"


def _image_of(trace: Trace, layer: int) -> tuple[ImageInput, PatchLayout]:
    image = trace.image
    if image is None:
        raise AttnVizError("This trace is not of one image.", "Trace a single image to see it.")
    reason = lacks_grid(trace, layer)
    if reason or image.layout is None:
        raise AttnVizError(reason, "Choose another view, or another layer.")
    return image, image.layout


def _codes(trace: Trace, layer: int, head: int, rows: slice) -> np.ndarray:
    a = trace.attention(layer, head)
    masked = a.masked(rows)
    return SignificantDigits().encode(
        as_numpy(a.weights(rows)), None if masked is None else masked.cpu().numpy()
    )
