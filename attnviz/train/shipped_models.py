"""``python -m attnviz.train.shipped_models`` trains the small models that come with attnviz.

Each is a task at its defaults, which anyone can train on the Train page: an induction model, an
encoder-decoder and a vision transformer, so that every page works offline.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from attnviz.errors import AttnVizError
from attnviz.models.catalog import SHIPPED
from attnviz.train import events, jobs, tasks
from attnviz.train.checkpoint_files import write_folder
from attnviz.train.run_job import run
from attnviz.train.tasks.task import settings_for

MAX_BYTES = 2 * 2**20  # of the weights
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class ShippedModel:
    """A model that comes with attnviz.

    Attributes:
        name, title, description: in the catalog.
        task: what it has learned.
    """

    name: str
    task: str
    title: str
    description: str


SHIPPED_MODELS = (
    ShippedModel(
        "tiny-induction",
        "induction",
        "Tiny induction",
        "Continues random letters that repeat (decoder): 2 layers of attention alone, 4 heads.",
    ),
    ShippedModel(
        "tiny-dates",
        "dates",
        "Tiny dates",
        "Rewrites 5 March 2024 as 2024-03-05 and back (encoder-decoder): 2 + 2 layers, 4 heads.",
    ),
    ShippedModel(
        "tiny-digits",
        "digits",
        "Tiny digits",
        "Reads handwritten digits of 8 by 8 pixels (vision): 3 layers, 4 heads.",
    ),
)


def train(shipped: ShippedModel, target: Path) -> float:
    """Trains one model and writes it to ``target``; its accuracy on held-out data.

    Raises:
        AttnVizError: the training failed or missed its goal, or the model is too large.
    """
    task = tasks.find(shipped.task)
    job = jobs.create(settings_for(task))
    run(job)
    status = job.status
    if status.state != "finished" or job.model is None:
        raise AttnVizError(f"{shipped.name} ended as {status.state}. {status.sentence}")
    accuracy = float(events.of_kind(job.events(), "evaluation")[-1][task.measure])
    if task.goal is not None and accuracy < task.goal:
        raise AttnVizError(f"{shipped.name} reached {accuracy:.3f} of {task.goal}.")
    if (job.model / "model.safetensors").stat().st_size > MAX_BYTES:
        raise AttnVizError(f"{shipped.name} is over 2 MB.")
    source = job.model
    # They are of the model before; tests/unit/models/test_examples.py says what no longer holds.
    examples = json.loads((target / "entry.json").read_text("utf-8")).get("examples", [])

    def fill(folder: Path) -> None:
        for name in FILES:
            if (source / name).is_file():
                shutil.copy(source / name, folder)
        entry = {"title": shipped.title, "description": shipped.description, "examples": examples}
        text = json.dumps(entry, indent=1, ensure_ascii=False)
        (folder / "entry.json").write_text(text + "\n", encoding="utf-8")

    write_folder(target, fill)
    return accuracy


def main(names: list[str]) -> None:
    """Trains the named models, or all."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATTNVIZ_JOBS"] = folder
        for shipped in SHIPPED_MODELS:
            if not names or shipped.name in names:
                print(f"{shipped.name}: {train(shipped, SHIPPED / shipped.name):.4f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
