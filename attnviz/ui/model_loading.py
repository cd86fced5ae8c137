"""Models loaded through the executor, and what identifies one."""

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
    """The loaded model, from memory if it is there and its files are what they were.

    Raises:
        AttnVizError: it can't be found, read or held; the message says which and what to do.
    """
    from attnviz.models.locate import model_stamp

    models = shared().models
    key = ("model", choice, model_stamp(choice.name))

    def action(job: Job) -> Model:
        import attnviz

        models.discard(lambda other: other[1] == choice)  # its files were others then
        models.make_room()
        model = attnviz.load(choice.name, device=choice.device, dtype=choice.dtype)
        memory.freeze_gc()
        return model

    return shared().work.run(key, action, models, report)


def identity(model: Model) -> Key:
    """What tells a loaded model from every other: its content, where it runs, its precision.

    It is the loaded model's own, whatever became of its files since.
    """
    return (model.loaded.revision, str(model.device), str(model.dtype))
