"""An estimate of the time, memory and disk that a training takes, before it starts.

Counted, not measured: a forward and backward pass takes 6 operations for each weight and token (4
where the weights are frozen; Kaplan et al. 2020), besides those of attention, at the speed that
this machine reaches in a short trial. Expect the right order of magnitude, no more.
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
from attnviz.train.finetune.trainable import n_trained
from attnviz.train.settings import FinetuneWork, JobSettings, TaskWork

FLOAT32 = 4  # bytes
START_SECONDS = 5.0  # of Python and torch
STEP_SECONDS = 0.004  # overhead of a step: its data, the optimizer, the loop
BLOCK_SECONDS = 0.006  # overhead of each block in a step: it launches many small operations
DISK_SPEED = 200 * 2**20  # bytes a second at which models are read and written
PROGRAM_BYTES = 500 * 2**20  # of Python and torch without a model
# numbers that a block stores for the backward pass, for each token and channel (Korthikanti et al.
# 2022)
ACTIVATIONS = 34
LOGITS_COPIES = 4  # logits, their softmax, and the gradients of both
TRIAL_SIDE = 512  # of the matrices whose product is timed
LONG_TRIAL, SHORT_TRIAL = 0.4, 0.05  # seconds; the first one on a device is the long one
SMALL_PRODUCT_SLOWDOWN = 3.0  # a model's small products reach a third of a large one's speed


@dataclass(frozen=True)
class Estimate:
    """What a training takes, approximately.

    Attributes:
        seconds: including the start.
        memory, disk: bytes; the disk is the job folder's.
        n_trainable, n_parameters: parameters that are trained; all parameters.
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
        share = 100 * self.n_trainable / self.n_parameters
        disk = format_bytes(self.disk) if self.disk >= 2**20 else "less than 1 MiB"
        return (
            f"About {span}, {format_bytes(self.memory)} of memory and {disk} of disk; "
            f"{self.n_trainable:,} trainable parameters ({share:.3g}%)."
        )


def estimate(
    module: PreTrainedModel,
    settings: JobSettings,
    length: int,
    held_out: int = 512,
    probe_tokens: int = 32,
) -> Estimate:
    """What training ``module`` would take; only its shapes are read, so it may be on ``meta``.

    Args:
        length: positions of an example; of an encoder-decoder, those of both sides together.
        held_out: examples that are evaluated on.
        probe_tokens: of the probe example.
    """
    schedule, work = settings.schedule, settings.work
    n = sum(p.numel() for p in module.parameters())
    n_trainable = n_trained(module, work) if isinstance(work, FinetuneWork) else n
    width, vocabulary = _sizes(module)
    n_blocks = max(1, len(blocks(module)))

    tokens = schedule.batch_size * length
    per_weight = 6 if n_trainable > n // 2 else 4
    operations = tokens * (per_weight * n + 12 * n_blocks * width * length)
    rate = operations_per_second(settings.device)
    step = operations * schedule.accumulation / rate + STEP_SECONDS + BLOCK_SECONDS * n_blocks
    evaluations = schedule.evaluations * held_out * length * 2 * n / rate

    activations = tokens * (ACTIVATIONS * n_blocks * width + LOGITS_COPIES * vocabulary)
    memory = PROGRAM_BYTES + FLOAT32 * (n + 3 * n_trainable + activations)

    checkpoint, merged, loaded = _bytes_on_disk(work, n, n_trainable)
    snapshot = 3 * n_blocks * width * probe_tokens * FLOAT32
    moved = schedule.checkpoints * checkpoint + merged + loaded
    return Estimate(
        seconds=START_SECONDS + schedule.steps * step + evaluations + moved / DISK_SPEED,
        memory=memory,
        disk=checkpoint + merged + snapshot * len(schedule.snapshot_at),
        n_trainable=n_trainable,
        n_parameters=n,
        fits=memory < available_memory(torch.device(settings.device)),
    )


def _bytes_on_disk(work: TaskWork | FinetuneWork, n: int, n_trainable: int) -> tuple[int, int, int]:
    """Bytes of a checkpoint, of the merged model, and of the model that is loaded first."""
    weights = n if n_trainable > n // 100 else 0  # an adapter is saved without its base
    checkpoint = FLOAT32 * (3 * n_trainable + weights)
    if not isinstance(work, FinetuneWork):
        return checkpoint, 0, 0
    return checkpoint, FLOAT32 * n if work.method == "lora" else 0, FLOAT32 * n


_fastest: dict[str, float] = {}  # by device, the shortest time of the product so far, in seconds


def operations_per_second(device: str) -> float:
    """The speed that a model of moderate size may reach on a device.

    From the fastest product so far: one that competes with another program's work takes up to
    eighty times as long, which says nothing about minutes of training.
    """
    seconds = SHORT_TRIAL if device in _fastest else LONG_TRIAL
    _fastest[device] = min(_fastest.get(device, float("inf")), _product_seconds(device, seconds))
    return 2 * TRIAL_SIDE**3 / _fastest[device] / SMALL_PRODUCT_SLOWDOWN


def _product_seconds(device: str, seconds: float) -> float:
    """The shortest time of a product of two square matrices, from trials of ``seconds`` in all."""
    a = torch.ones(TRIAL_SIDE, TRIAL_SIDE, device=torch.device(device))
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - start)
    return best


def _sizes(module: PreTrainedModel) -> tuple[int, int]:
    """d_model and the size of the vocabulary (0 without a language-model head)."""
    config: Any = module.config.get_text_config()
    head = module.get_output_embeddings()
    vocabulary = head.weight.shape[0] if isinstance(head, nn.Linear) else 0
    return int(getattr(config, "hidden_size", 64)), int(vocabulary)
