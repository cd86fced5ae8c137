"""Fine-tuning of a loaded model, on a copy of its weights."""

from attnviz.train.finetune.setup import prepare

__all__ = ["prepare"]
