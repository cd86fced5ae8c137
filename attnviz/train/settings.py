"""Settings of a training job: frozen dataclasses, stored as job.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from attnviz.errors import AttnVizError
from attnviz.models import bounded_json
from attnviz.train.checked_fields import build

Decay = Literal["linear", "cosine", "constant"]
Objective = Literal["causal", "masked", "classify", "seq2seq"]
Method = Literal["lora", "last", "full"]

MAX_BYTES = 16 * 2**20  # of job.json, which may include the text that a task is trained on
MAX_VALUES = 2**21  # of job.json, counted by commas, which its texts contain too
MAX_STEPS = 1_000_000
CURVE_POINTS = 400  # of a loss curve; a screen does not resolve more

_SCHEDULE_RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, MAX_STEPS),
    "batch_size": (1, 65_536),
    "accumulation": (1, 4_096),
    "warmup": (0, MAX_STEPS),
    "evaluations": (0, 10_000),
    "checkpoints": (1, 10_000),
    "snapshots": (0, 10_000),
    "learning_rate": (1e-9, 10.0),
    "weight_decay": (0.0, 100.0),
    "beta2": (0.0, 0.999999),
    "max_grad_norm": (1e-6, 1e6),
    "seed": (0, 2**31 - 1),
}
_FINETUNE_RANGES = {"last_layers": (1, 1000), "rank": (1, 1024), "length": (4, 131_072)}


@dataclass(frozen=True)
class Schedule:
    """Optimization, and how often to evaluate, save and record.

    Raises:
        AttnVizError: a value is out of range.
    """

    steps: int = 1000
    batch_size: int = 64  # examples in one forward pass of one device
    accumulation: int = 1  # batches whose gradients make one step
    learning_rate: float = 1e-3  # the peak
    warmup: int = 50  # steps up to the peak: Adam's first estimates are noisy
    decay: Decay = "cosine"  # after the warm-up
    weight_decay: float = 0.01
    beta2: float = 0.98  # of Adam; the usual 0.999 adapts too slowly for a short training
    max_grad_norm: float = 1.0  # larger gradients are scaled down to this norm
    seed: int = 0  # of the data order, the initial weights and dropout
    evaluations: int = 10  # on the held-out data
    checkpoints: int = 8
    snapshots: int = 24  # of the probe's attention, besides the one before the first step
    snapshot_steps: tuple[int, ...] | None = None  # instead of ``snapshots`` regular ones

    def __post_init__(self) -> None:
        for name, (low, high) in _SCHEDULE_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise AttnVizError(f"{name} is {value}.", f"Choose {low:g} to {high:g}.")
        _require_choice("decay", self.decay, Decay)

    @property
    def log_every(self) -> int:
        """Steps between two points of the loss curve; requests are checked at the same steps."""
        return max(1, self.steps // CURVE_POINTS)

    @property
    def evaluate_at(self) -> frozenset[int]:
        """Steps after which to evaluate on the held-out data."""
        return self._regular_steps(self.evaluations)

    @property
    def checkpoint_at(self) -> frozenset[int]:
        """Steps after which to write a checkpoint."""
        return self._regular_steps(self.checkpoints)

    @property
    def snapshot_at(self) -> frozenset[int]:
        """Steps after which to record the probe's attention; 0 is before the first."""
        if self.snapshot_steps is not None:
            return frozenset(self.snapshot_steps)
        return self._regular_steps(self.snapshots) | {0} if self.snapshots else frozenset()

    def _regular_steps(self, count: int) -> frozenset[int]:
        """``count`` steps at equal distances, all on the loss curve, including the last step."""
        every = self.log_every
        steps = (-(-self.steps * i // (count * every)) * every for i in range(1, count + 1))
        return frozenset(min(step, self.steps) for step in steps)


@dataclass(frozen=True)
class Limits:
    """When a training stops early; a checkpoint is written first."""

    minutes: float | None = None  # of running, over all runs of a resumed job; not of waiting
    disk_mb: float | None = 4096.0  # of the job's folder


@dataclass(frozen=True)
class TaskWork:
    """A small transformer learns a task from scratch."""

    task: str  # a name in attnviz.train.tasks
    options: dict[str, Any] = field(default_factory=dict)  # of the data, over the task's defaults
    model: dict[str, Any] = field(default_factory=dict)  # TransformerConfig's, over the task's own


@dataclass(frozen=True)
class FinetuneWork:
    """A loaded model is fine-tuned, on a copy of its weights.

    Raises:
        AttnVizError: a value is out of range.
    """

    model: str  # as attnviz.load takes it
    data: str  # a .txt, .jsonl or .csv file
    objective: Objective = "causal"
    method: Method = "lora"
    last_layers: int = 2  # "last": blocks that are trained, besides the head
    rank: int = 8  # "lora": of the weights' update
    alpha: float = 16.0  # "lora": the update is scaled by alpha / rank
    dropout: float = 0.0  # "lora": of the adapter's input
    length: int = 128  # tokens of an example, at most
    held_out: float = 0.1  # share of the data
    text_column: str = "text"  # of csv and jsonl, for the objectives causal, masked and classify
    label_column: str = "label"  # classify
    source_column: str = "source"  # seq2seq
    target_column: str = "target"  # seq2seq

    def __post_init__(self) -> None:
        _require_choice("objective", self.objective, Objective)
        _require_choice("method", self.method, Method)
        for key, (low, high) in _FINETUNE_RANGES.items():
            if not low <= getattr(self, key) <= high:
                raise AttnVizError(f"{key} is {getattr(self, key)}.", f"Choose {low} to {high}.")
        if not 0.0 <= self.held_out < 1.0:
            raise AttnVizError(f"held_out is {self.held_out}.", "Choose 0 to 0.9.")


@dataclass(frozen=True)
class JobSettings:
    """Everything that determines a job."""

    title: str
    work: TaskWork | FinetuneWork
    schedule: Schedule = field(default_factory=Schedule)
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"  # "auto" is resolved when the job is created
    probe: str = ""  # the probe example: a text, or a held-out image's index; "" the task's own
    probe_target: str = ""  # the decoder's text, for an encoder-decoder

    def to_json(self) -> str:
        """The content of job.json."""
        kind = "task" if isinstance(self.work, TaskWork) else "finetune"
        values = asdict(self)
        values["work"] = {"kind": kind, **values["work"]}
        return json.dumps(values, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> JobSettings:
        """The settings in the content of a job.json.

        Raises:
            AttnVizError: it is not valid JSON, or has an invalid value.
        """
        try:
            values = bounded_json.parse(text.encode(errors="replace"), MAX_VALUES)
            work = dict(values["work"])
            kind = work.pop("kind")
            schedule, limits = dict(values.get("schedule", {})), dict(values.get("limits", {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AttnVizError(f"This is no training job: {error}.", "Submit it again.") from error
        if kind not in ("task", "finetune"):
            raise AttnVizError(f"A job's work cannot be {kind!r}.", "It is task or finetune.")
        if isinstance(schedule.get("snapshot_steps"), list):
            schedule["snapshot_steps"] = tuple(schedule["snapshot_steps"])
        parts: Mapping[str, Any] = {
            "work": build(TaskWork if kind == "task" else FinetuneWork, work),
            "schedule": build(Schedule, schedule),
            "limits": build(Limits, limits),
        }
        return build(cls, {**values, **parts})


def read(path: Path) -> JobSettings:
    """The settings in a job.json.

    Raises:
        AttnVizError: it cannot be read, or is not a job's.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise AttnVizError(f"{path.name} is too big to be a job's settings.")
        return JobSettings.from_json(raw.decode("utf-8"))
    except OSError as error:
        raise AttnVizError(
            f"The settings of the job {path.parent.name} cannot be read ({error.strerror}).",
            "Check the path.",
        ) from error
    except UnicodeDecodeError as error:
        raise AttnVizError(
            f"The settings of the job {path.parent.name} are not text.", "Submit it again."
        ) from error


def _require_choice(name: str, value: str, choices: Any) -> None:
    """Raises AttnVizError unless ``value`` is one of a Literal's."""
    if value not in get_args(choices):
        raise AttnVizError(
            f"{name} = {value!r} is not known.", f"Choose one of {', '.join(get_args(choices))}."
        )
