"""Requests for a model and for a trace: frozen values, which are part of cache keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelChoice:
    """Which weights to load, on which device and in which precision."""

    name: str  # catalog name, hub id, folder or .gguf file
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Sampling:
    """How a model generates text, and how much.

    The generated text depends on the prompt and these settings alone, so a link restores it, and
    fewer tokens give the beginning of the same text.
    """

    tokens: int
    temperature: float = 0.0  # 0 takes the most probable token each time
    top_k: int = 0  # 0 samples among all
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class TraceRequest:
    """The input to trace a model on."""

    text: str = ""
    target: str = ""  # encoder-decoder: the decoder's text
    pair: str = ""  # encoder: the second segment
    image: bytes = field(default=b"", repr=False, compare=False)
    image_digest: str = ""  # identifies the image in comparisons and keys
    sampling: Sampling | None = None  # first continue the text, then trace all of it

    @classmethod
    def of_image(cls, image: bytes) -> TraceRequest:
        return cls(image=image, image_digest=hashlib.sha256(image).hexdigest())

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``Model.trace``."""
        if self.image:
            from attnviz.models.images import open_image

            return {"text": None, "image": open_image(self.image)}
        return {
            "text": self.text,
            "target": self.target or None,
            "pair": self.pair or None,
        }
