"""How long a training will take and how much memory, told before it starts.

Counted, not measured: a forward and backward pass costs 6 operations a weight and token (4 where
the weights are frozen; Kaplan et al. 2020) plus those of attention, at the speed that this machine
shows in a short trial. So it tells an order of magnitude, and says "about".
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from attnviz.models.limits import available_memory, format_bytes
from attnviz.trace.structure import blocks
from attnviz.train.finetune.adapting import lora_targets
from attnviz.train.settings import FinetuneWork, JobSettings

FLOAT32 = 4
START_SECONDS = 5.0  # Python and torch
STEP_SECONDS = 0.004  # of a step apart from arithmetic: its data, the optimizer, the loop
BLOCK_SECONDS = 0.006  # and of each block in it: many small operations, whatever they compute
DISK = 200 * 2**20  # bytes a second that models are read and written at
PROGRAM = 500 * 2**20  # Python and torch with nothing loaded
KEPT = 34  # numbers a block keeps a token and width for the backward pass (Korthikanti et al. 2022)
LOGITS_COPIES = 4  # logits, their softmax, and the gradients of both
TRIAL_SIDE, LONG_TRIAL, SHORT_TRIAL = 512, 0.4, 0.05  # of the product that is timed; seconds
SLOWER = 3.0  # small products in a model reach a third of a large one's speed


@dataclass(frozen=True)
class Estimate:
    """About what a training takes.

    Attributes:
        seconds: with the start. memory: bytes. disk: bytes of the job's folder.
        n_trainable, n_parameters: numbers that learn, and all.
        fits: whether that much memory is free.
    """

    seconds: float
    memory: int
    disk: int
    n_trainable: int
    n_parameters: int
    fits: bool

    def __str__(self) -> str:
        minutes = self.seconds / 60
        span = f"{minutes:.0f} min" if minutes >= 2 else f"{max(10, round(self.seconds, -1)):.0f} s"
        disk = format_bytes(self.disk) if self.disk >= 2**20 else "less than 1 MiB"
        return (
            f"About {span}, {format_bytes(self.memory)} of memory and {disk} of disk; "
            f"{self.n_trainable:,} of {self.n_parameters:,} numbers learn."
        )


def estimate(
    module: PreTrainedModel,
    settings: JobSettings,
    length: int,
    held_out: int = 512,
    probe_tokens: int = 32,
) -> Estimate:
    """What it would take to train ``module``, which is only counted and may be on ``meta``.

    Args:
        length: positions of an example, an encoder-decoder's two sides together.
        held_out: examples that are only evaluated on.
        probe_tokens: of the text whose attention is kept.
    """
    schedule, work = settings.schedule, settings.work
    n = sum(p.numel() for p in module.parameters())
    n_learn = n_trained(module, work) if isinstance(work, FinetuneWork) else n
    width, vocabulary = _sizes(module)
    n_blocks = max(1, len(blocks(module)))
    tokens = schedule.batch_size * length
    per_weight = 6 if n_learn > n // 2 else 4
    operations = tokens * (per_weight * n + 12 * n_blocks * width * length)
    rate = speed(settings.device)
    step = operations * schedule.accumulation / rate + STEP_SECONDS + BLOCK_SECONDS * n_blocks
    evaluated = schedule.evaluations * held_out * length * 2 * n / rate
    activations = tokens * (KEPT * n_blocks * width + LOGITS_COPIES * vocabulary)
    memory = PROGRAM + FLOAT32 * (n + 3 * n_learn + activations)
    a_snapshot = 3 * n_blocks * width * probe_tokens * FLOAT32
    kept = FLOAT32 * (3 * n_learn + (n if n_learn > n // 100 else 0))
    merged = FLOAT32 * n if isinstance(work, FinetuneWork) and work.method == "lora" else 0
    moved = schedule.checkpoints * kept + merged
    moved += FLOAT32 * n if isinstance(work, FinetuneWork) else 0
    return Estimate(
        seconds=START_SECONDS + schedule.steps * step + evaluated + moved / DISK,
        memory=memory,
        disk=kept + merged + a_snapshot * len(schedule.snapshot_at),
        n_trainable=n_learn,
        n_parameters=n,
        fits=memory < available_memory(torch.device(settings.device)),
    )


def n_trained(module: PreTrainedModel, work: FinetuneWork) -> int:
    """How many numbers would learn; the head that a new objective brings is not counted."""
    if work.method == "full":
        return sum(p.numel() for p in module.parameters())
    if work.method == "last":
        chosen = blocks(module)[-work.last_layers :]
        return sum(p.numel() for block in chosen for p in block.module.parameters())
    shapes = [module.get_submodule(name).weight.shape for name in lora_targets(module)]
    return sum(work.rank * (int(shape[0]) + int(shape[1])) for shape in shapes)  # type: ignore[index,arg-type]


_fastest: dict[str, float] = {}  # seconds of one product, the best that was seen on a device


def speed(device: str) -> float:
    """Operations a second that a model of moderate size may reach on a device.

    The fastest product ever seen counts. One that meets another program's work takes up to eighty
    times as long, which says nothing of minutes of training.
    """
    seconds = SHORT_TRIAL if device in _fastest else LONG_TRIAL
    _fastest[device] = min(_fastest.get(device, float("inf")), _product_seconds(device, seconds))
    return 2 * TRIAL_SIDE**3 / _fastest[device] / SLOWER


def _product_seconds(device: str, seconds: float) -> float:
    """The shortest time of a product of two square matrices, over some seconds of trying."""
    place = torch.device(device)
    a = torch.ones(TRIAL_SIDE, TRIAL_SIDE, device=place)
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        begin = time.perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - begin)
    return best


def _sizes(module: PreTrainedModel) -> tuple[int, int]:
    """The width of the stream and the number of logits."""
    config: Any = module.config.get_text_config()
    head = module.get_output_embeddings()
    vocabulary = head.weight.shape[0] if isinstance(head, nn.Linear) else 0
    return int(getattr(config, "hidden_size", 64)), int(vocabulary)
