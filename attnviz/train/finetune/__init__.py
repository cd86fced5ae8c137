"""Fine-tuning a loaded model, on a copy of its weights."""

from __future__ import annotations

from attnviz.train.material import Material
from attnviz.train.settings import FinetuneWork, JobSettings


def prepare(work: FinetuneWork, settings: JobSettings) -> Material:
    raise NotImplementedError
