"""Controls of the schedule and of the limits, which both forms share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import streamlit as st

from attnviz.nn.config import Positions
from attnviz.train.settings import Decay, Limits, Schedule

POSITIONS = list(get_args(Positions))


def schedule_controls(defaults: Schedule, key: str) -> Schedule:
    """The schedule that the person chose.

    Args:
        key: prefix of the widgets' keys, so that every task has its own values.
    """
    with st.expander("Training settings", icon=":material/tune:"):
        values = {
            **_step_controls(defaults, key),
            **_warmup_controls(defaults, key),
            **_decay_controls(defaults, key),
        }
    return replace(defaults, **values)


def _step_controls(defaults: Schedule, key: str) -> dict[str, Any]:
    left, middle, right = st.columns(3)
    return {
        "steps": left.number_input("Steps", 1, 1_000_000, defaults.steps, key=f"{key}_steps"),
        "batch_size": middle.number_input(
            "Batch size",
            1,
            4096,
            defaults.batch_size,
            key=f"{key}_batch",
            help="Examples per batch.",
        ),
        "learning_rate": right.number_input(
            "Learning rate",
            1e-7,
            1.0,
            defaults.learning_rate,
            step=defaults.learning_rate / 10,
            format="%.2e",
            key=f"{key}_rate",
            help="Peak learning rate, after warm-up.",
        ),
    }


def _warmup_controls(defaults: Schedule, key: str) -> dict[str, Any]:
    left, middle, right = st.columns(3)
    return {
        "warmup": left.number_input(
            "Warm-up steps", 0, 100_000, defaults.warmup, key=f"{key}_warmup"
        ),
        "accumulation": middle.number_input(
            "Accumulation steps",
            1,
            1024,
            defaults.accumulation,
            key=f"{key}_accumulation",
            help="Batches accumulated per optimizer step.",
        ),
        "seed": right.number_input("Seed", 0, 2**31 - 1, defaults.seed, key=f"{key}_seed"),
    }


def _decay_controls(defaults: Schedule, key: str) -> dict[str, Any]:
    left, middle, right = st.columns(3)
    decays = list(get_args(Decay))
    return {
        "decay": left.selectbox(
            "Decay",
            decays,
            decays.index(defaults.decay),
            key=f"{key}_decay",
            help="Learning-rate schedule after warm-up.",
        ),
        "weight_decay": middle.number_input(
            "Weight decay", 0.0, 10.0, defaults.weight_decay, key=f"{key}_weight_decay"
        ),
        "snapshots": right.number_input(
            "Snapshots",
            1,
            500,
            defaults.snapshots,
            key=f"{key}_snapshots",
            help="Steps between recordings of the probe example's attention.",
        ),
    }


def limit_controls() -> Limits:
    """The limits that the person chose."""
    with st.expander("Limits", icon=":material/timer:"):
        left, right = st.columns(2)
        minutes = left.number_input(
            "Time (minutes)", 0.1, 10_000.0, None, key="limit_minutes", placeholder="none"
        )
        disk = right.number_input("Disk (MB)", 10.0, 1e6, 4096.0, key="limit_disk")
    return Limits(minutes=minutes, disk_mb=disk)
