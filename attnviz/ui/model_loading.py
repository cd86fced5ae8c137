"""Loading models through the executor, and what identifies a loaded model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.trace.requests import ModelChoice
from attnviz.ui import memory
from attnviz.ui.executor import Job, Report
from attnviz.ui.lru_cache import Key
from attnviz.ui.shared import shared

if TYPE_CHECKING:
    from attnviz.trace.model import Model


def load(choice: ModelChoice, report: Report) -> Model:
    """The loaded model, from the cache if its files have not changed.

    Raises:
        AttnVizError: it can't be found, read or held in memory; the message says which.
    """
    from attnviz.models.locate import model_stamp

    models = shared().models
    key = ("model", choice, model_stamp(choice.name))

    def action(job: Job) -> Model:
        import attnviz

        models.discard(lambda other: other[1] == choice)  # loaded from files that have changed
        models.make_room()
        model = attnviz.load(choice.name, device=choice.device, dtype=choice.dtype)
        memory.freeze_gc()
        return model

    return shared().work.run(key, action, models, report)


def identity(model: Model) -> Key:
    """What identifies a loaded model in keys: its content, device and precision.

    The content is what was loaded, whatever became of the files since.
    """
    return (model.loaded.revision, str(model.device), str(model.dtype))
