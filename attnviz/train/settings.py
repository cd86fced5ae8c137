"""What a training job is told: plain values that travel as job.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from attnviz.errors import AttnVizError
from attnviz.models import bounded_json

Decay = Literal["linear", "cosine", "constant"]
Objective = Literal["causal", "masked", "classify", "seq2seq"]
Method = Literal["lora", "last", "full"]

MAX_BYTES = 16 * 2**20  # of job.json: a task may hold a person's own text
MAX_VALUES = 2**21  # counted by commas, and the text has its own
MAX_STEPS = 1_000_000
LOGS = 400  # points of a loss curve: more cannot be told apart on a screen


@dataclass(frozen=True)
class Schedule:
    """How the numbers are changed, and how often somebody looks.

    Raises:
        AttnVizError: a value is out of range.
    """

    steps: int = 1000
    batch_size: int = 64  # examples a device sees before it adds up gradients
    accumulation: int = 1  # batches whose gradients make one step
    learning_rate: float = 1e-3  # at its highest
    warmup: int = 50  # steps until then: Adam's first estimates are noise
    decay: Decay = "cosine"  # afterwards
    weight_decay: float = 0.01
    beta2: float = 0.98  # Adam's memory of squared gradients; 0.999 is slow for short trainings
    max_grad_norm: float = 1.0  # gradients longer than this are shortened to it
    seed: int = 0  # data order, first weights and dropout all follow from it
    evaluations: int = 10  # looks at the held-out data
    checkpoints: int = 8
    snapshots: int = 24  # of the probe's attention, besides the one before the first step
    snapshot_steps: tuple[int, ...] | None = None  # named outright instead

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
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
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise AttnVizError(f"{name} is {value}.", f"Choose {low:g} to {high:g}.")
        if self.decay not in get_args(Decay):
            raise AttnVizError(
                f"decay = {self.decay!r} is not known.",
                f"Choose one of {', '.join(get_args(Decay))}.",
            )

    @property
    def log_every(self) -> int:
        """Steps between two points of the loss curve; requests are looked at as often."""
        return max(1, self.steps // LOGS)

    @property
    def evaluate_at(self) -> frozenset[int]:
        """Steps after which the held-out data is looked at."""
        return self._marks(self.evaluations)

    @property
    def checkpoint_at(self) -> frozenset[int]:
        """Steps after which a checkpoint is written: each is also a point of the loss curve."""
        return self._marks(self.checkpoints)

    @property
    def snapshot_at(self) -> frozenset[int]:
        """Steps after which the probe's attention is kept; 0 is before the first."""
        if self.snapshot_steps is not None:
            return frozenset(self.snapshot_steps)
        return self._marks(self.snapshots) | {0} if self.snapshots else frozenset()

    def _marks(self, count: int) -> frozenset[int]:
        """``count`` steps, evenly apart, each a point of the loss curve, the last among them."""
        every = self.log_every
        marks = (-(-self.steps * i // (count * every)) * every for i in range(1, count + 1))
        return frozenset(min(mark, self.steps) for mark in marks)


@dataclass(frozen=True)
class Limits:
    """Where a training stops by itself; what it has learned until then is kept."""

    minutes: float | None = None  # of running, over all its sittings; waiting is not counted
    disk_mb: float | None = 4096.0  # of the job's folder


@dataclass(frozen=True)
class TaskWork:
    """A small transformer learns a task from nothing."""

    task: str  # a name in attnviz.train.tasks
    options: dict[str, Any] = field(default_factory=dict)  # of the task; its defaults fill in
    model: dict[str, Any] = field(default_factory=dict)  # TransformerConfig, over the task's own


@dataclass(frozen=True)
class FinetuneWork:
    """A loaded model goes on learning, on its own copy of the weights."""

    model: str  # as attnviz.load takes it
    data: str  # a .txt, .jsonl or .csv file
    objective: Objective = "causal"
    method: Method = "lora"
    last_layers: int = 2  # "last": how many blocks change, with the head
    rank: int = 8  # "lora": columns of the two thin matrices
    alpha: float = 16.0  # "lora": their product is scaled by alpha / rank
    dropout: float = 0.0  # "lora": of what enters them
    length: int = 128  # tokens an example has at most
    held_out: float = 0.1  # share of the data that is only evaluated on
    text_column: str = "text"  # csv and jsonl: classification, causal and masked
    label_column: str = "label"  # classification
    source_column: str = "source"  # seq2seq
    target_column: str = "target"

    def __post_init__(self) -> None:
        for name, allowed in (("objective", Objective), ("method", Method)):
            if getattr(self, name) not in get_args(allowed):
                raise AttnVizError(
                    f"{name} = {getattr(self, name)!r} is not known.",
                    f"Choose one of {', '.join(get_args(allowed))}.",
                )
        ranges = {"last_layers": (1, 1000), "rank": (1, 1024), "length": (4, 131_072)}
        for key, (low, high) in ranges.items():
            if not low <= getattr(self, key) <= high:
                raise AttnVizError(f"{key} is {getattr(self, key)}.", f"Choose {low} to {high}.")
        if not 0.0 <= self.held_out < 1.0:
            raise AttnVizError(f"held_out is {self.held_out}.", "Choose 0 to 0.9.")


@dataclass(frozen=True)
class JobSettings:
    """Everything a job needs to run."""

    title: str
    work: TaskWork | FinetuneWork
    schedule: Schedule = field(default_factory=Schedule)
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"  # "auto" is resolved when the job is submitted
    probe: str = ""  # the text (or number of a picture) whose attention is kept; "" the work's own
    probe_target: str = ""  # what an encoder-decoder's decoder is given beside it

    def to_json(self) -> str:
        """As job.json holds it."""
        kind = "task" if isinstance(self.work, TaskWork) else "finetune"
        values = asdict(self)
        values["work"] = {"kind": kind, **values["work"]}
        return json.dumps(values, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> JobSettings:
        """From job.json.

        Raises:
            AttnVizError: no such JSON, or a value that cannot be.
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
        work_type: type = TaskWork if kind == "task" else FinetuneWork
        rest = {k: v for k, v in values.items() if k not in ("work", "schedule", "limits")}
        return _make(
            cls,
            {
                **rest,
                "work": _make(work_type, work),
                "schedule": _make(Schedule, schedule),
                "limits": _make(Limits, limits),
            },
        )


def read(path: Path) -> JobSettings:
    """The settings in a job.json.

    Raises:
        AttnVizError: it cannot be read or is no training job.
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


def with_limits(settings: JobSettings, limits: Limits) -> JobSettings:
    """The same job with other limits."""
    return replace(settings, limits=limits)


def _make(kind: type, values: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise AttnVizError(
            f"A job has no setting {unknown[0]!r}.", f"Those of {kind.__name__}: {sorted(known)}."
        )
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise AttnVizError(
                f"{name} cannot be {str(value)[:80]!r} in a job's settings.", "Submit it again."
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise AttnVizError(f"The job's settings are incomplete: {error}.") from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of the type that a field has."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, parts[0]) for item in value)
    if hint is float:
        return type(value) in (int, float) and abs(value) < math.inf
    return type(value) is hint if hint in (int, str) else isinstance(value, origin or hint)
