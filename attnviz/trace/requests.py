"""What a page requests of a model: frozen values, which are part of cache keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelChoice:
    """Which weights, where, and in which precision."""

    name: str  # catalog name, hub id, folder or .gguf file
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Sampling:
    """How a model writes, and how much.

    A text, these settings and nothing else decide what is written, so a link holds it, and asking
    for fewer tokens gives the beginning of the same.
    """

    tokens: int
    temperature: float = 0.0  # 0 takes the likeliest token each time
    top_k: int = 0  # 0 draws among all
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class TraceRequest:
    """What a model is to be traced on."""

    text: str = ""
    target: str = ""  # encoder-decoder: the decoder's text
    pair: str = ""  # encoder: the second segment
    image: bytes = field(default=b"", repr=False, compare=False)
    image_digest: str = ""  # stands for the image in comparisons and keys
    sampling: Sampling | None = None  # the model first writes on, and all of it is looked at

    @classmethod
    def of_image(cls, image: bytes) -> TraceRequest:
        return cls(image=image, image_digest=hashlib.sha256(image).hexdigest())

    def arguments(self) -> dict[str, Any]:
        """As ``Model.trace`` takes it."""
        if self.image:
            from attnviz.models.images import open_image

            return {"text": None, "image": open_image(self.image)}
        return {
            "text": self.text,
            "target": self.target or None,
            "pair": self.pair or None,
        }
