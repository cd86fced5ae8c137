"""The image that a trace's patches were cut from, as a page shows it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

from PIL import Image

from attnviz.canvas.image import journey
from attnviz.models.images import as_rgb, open_image
from attnviz.trace.image_input import ImageInput

LONGEST_SIDE = 640  # px of the picture in the file
_PATCH = re.compile(r"patch (\d+),(\d+)")


def image_entry(
    lists: Sequence[tuple[str, ...]], image: Any | None, seen: ImageInput | None = None
) -> dict[str, Any] | None:
    """Where the patches are among the page's lists of token names, their grid, and the picture.

    Args:
        lists: token names. image: a PIL image, or a file's bytes, all of which the patches are
            taken to cover; None without a picture.
        seen: the image of the trace, which is drawn as the model got it, whatever ``image`` is.

    Returns:
        None where no list is of patches.

    Raises:
        AttnVizError: an image that can't be read.
    """
    for index, names in enumerate(lists):
        cells = [_PATCH.fullmatch(name) for name in names]
        found = [i for i, cell in enumerate(cells) if cell]
        if not found:
            continue
        last = cells[found[-1]]
        assert last is not None
        grid = [int(last[1]) + 1, int(last[2]) + 1]
        if len(found) != grid[0] * grid[1]:
            continue
        entry: dict[str, Any] = {
            "names": index,
            "grid": grid,
            "first": found[0],
            "picture": None if image is None else _data_url(image),
            "covers": (1.0, 1.0),
            "words": (),
        }
        if seen is not None and seen.layout is not None:
            height, width = seen.pixels.shape[1:]
            covered = [n * side for n, side in zip(grid, seen.layout.patch, strict=True)]
            entry["picture"] = _data_url(Image.fromarray(seen.seen))
            entry["covers"] = (covered[1] / width, covered[0] / height)
            entry["words"] = journey(seen, seen.layout)
        return entry
    return None


def _data_url(image: Any) -> str:
    picture = open_image(image) if isinstance(image, bytes) else as_rgb(image)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
