"""The numbers that both doors ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import streamlit as st

from attnviz.nn.config import Positions
from attnviz.train.settings import Decay, Limits, Schedule

POSITIONS = list(get_args(Positions))


def schedule(first: Schedule, key: str) -> Schedule:
    """The training's numbers; ``first`` are the defaults.

    Args:
        key: what sets these controls apart from those of another task.
    """
    with st.expander("The training", icon=":material/tune:"):
        a, b, c = st.columns(3)
        steps = a.number_input("Steps", 1, 1_000_000, first.steps, key=f"{key}_steps")
        batch = b.number_input(
            "Batch", 1, 4096, first.batch_size, key=f"{key}_batch", help="Examples at once."
        )
        rate = c.number_input(
            "Learning rate",
            1e-7,
            1.0,
            first.learning_rate,
            step=first.learning_rate / 10,
            format="%.2e",
            key=f"{key}_rate",
            help="At its highest, after the warm-up.",
        )
        d, e, f = st.columns(3)
        warmup = d.number_input("Warm-up steps", 0, 100_000, first.warmup, key=f"{key}_warmup")
        accumulation = e.number_input(
            "Accumulation",
            1,
            1024,
            first.accumulation,
            key=f"{key}_accumulation",
            help="Batches whose gradients make one step.",
        )
        seed = f.number_input("Seed", 0, 2**31 - 1, first.seed, key=f"{key}_seed")
        g, h, i = st.columns(3)
        decay_names = list(get_args(Decay))
        decay = g.selectbox(
            "Decay",
            decay_names,
            decay_names.index(first.decay),
            key=f"{key}_decay",
            help="How the learning rate falls after the warm-up.",
        )
        weight_decay = h.number_input(
            "Weight decay", 0.0, 10.0, first.weight_decay, key=f"{key}_weight_decay"
        )
        snapshots = i.number_input(
            "Snapshots",
            1,
            500,
            first.snapshots,
            key=f"{key}_snapshots",
            help="How often the attention of the example is kept.",
        )
    return replace(
        first,
        steps=steps,
        batch_size=batch,
        learning_rate=rate,
        warmup=warmup,
        accumulation=accumulation,
        seed=seed,
        decay=decay,
        weight_decay=weight_decay,
        snapshots=snapshots,
    )


def limits() -> Limits:
    """Where the training stops by itself."""
    with st.expander("Limits", icon=":material/timer:"):
        left, right = st.columns(2)
        minutes = left.number_input(
            "Minutes", 0.1, 10_000.0, None, key="limit_minutes", placeholder="none"
        )
        disk = right.number_input("Disk, MB", 10.0, 1e6, 4096.0, key="limit_disk")
    return Limits(minutes=minutes, disk_mb=disk)
