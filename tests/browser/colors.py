"""Whether text can be read on its ground, as WCAG measures it."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import Locator


def luminance(color: str) -> float:
    """0 for black, 1 for white, of a CSS color."""
    parts = [float(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    """1 to 21, as WCAG defines it for two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def picture(element: Locator) -> Image.Image:
    """What is on screen there."""
    return Image.open(io.BytesIO(element.screenshot())).convert("RGB")


def ground(element: Locator) -> float:
    """The luminance of its upper left corner."""
    red, green, blue = picture(element).getpixel((2, 2))
    return luminance(f"rgb({red}, {green}, {blue})")
