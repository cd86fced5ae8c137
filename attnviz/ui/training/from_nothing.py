"""The first door: a small transformer learns a task from nothing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from attnviz.train import tasks
from attnviz.train.estimate import Estimate, estimate
from attnviz.train.material import n_tokens
from attnviz.train.settings import JobSettings, Limits
from attnviz.train.tasks.task import Task, from_layer, prepare, settings_for
from attnviz.ui.training.numbers import POSITIONS, limits, schedule

LAB = "_lab"  # what the Layer lab last showed
_SOURCES = {"task": "The task's own", "lab": "The Layer lab's"}


def form() -> JobSettings:
    """The controls, and the job that they ask for (not yet checked)."""
    task = tasks.find(
        st.pills(
            "Task",
            list(tasks.TASKS),
            default="induction",
            required=True,
            key="task",
            format_func=lambda name: tasks.TASKS[name].title,
            bind="query-params",
            wrap=True,
        )
    )
    st.caption(task.description)
    options = _options(task)
    model = _model(task)
    numbers = schedule(task.schedule, key=task.name)
    bounds: Limits = limits()
    return settings_for(task, options=options, model=model, limits=bounds, schedule=numbers)


@st.cache_data(max_entries=64, show_spinner=False)
def estimated(settings_json: str) -> Estimate:
    """What the job takes; building its model and one batch also checks its settings."""
    settings = JobSettings.from_json(settings_json)
    made = prepare(tasks.find(settings.work.task), settings)  # type: ignore[union-attr]
    size = settings.schedule.batch_size
    length = max(1, n_tokens(made.draw(list(range(size)))) // size)
    if made.processor is not None:
        length = 1 + (8 // made.base.config.patch_size) ** 2
    return estimate(made.base, settings, length)


def _options(task: Task) -> dict[str, Any]:
    """The task's own numbers."""
    if task.name == "text":
        text = st.text_area("Text", str(task.options["text"]), key="train_text", height=140)
        return {"text": text}
    asked: dict[str, Any] = {}
    with st.expander("The task's data", icon=":material/dataset:"):
        columns = st.columns(max(2, len(task.options)))
        for column, (name, value) in zip(columns, task.options.items(), strict=False):
            asked[name] = column.number_input(
                name.replace("_", " ").capitalize(),
                value=value,
                key=f"{task.name}_{name}",
            )
    return asked


def _model(task: Task) -> dict[str, Any]:
    """The transformer: the task's own, with other sizes, or the Layer lab's layer."""
    lab = st.session_state.get(LAB)
    vision = task.name == "digits"
    with st.expander("The transformer", icon=":material/account_tree:"):
        source = "task"
        if lab is not None and not vision:
            source = st.segmented_control(
                "Settings",
                list(_SOURCES),
                default="task",
                required=True,
                key="train_source",
                format_func=_SOURCES.__getitem__,
                help="The layer that the Layer lab shows, in a stack of as many layers.",
            )
        if source == "lab" and lab is not None:
            st.caption(
                f"{lab.layers} layers of {lab.config.n_heads} heads, d_model {lab.config.d_model}, "
                f"positions {lab.config.positions}."
            )
            return from_layer(lab.config, lab.layers)
        left, middle, right = st.columns(3)
        asked: dict[str, Any] = {
            "n_layers": left.number_input(
                "Layers", 1, 12, task.model["n_layers"], key=f"{task.name}_layers"
            ),
            "n_heads": middle.number_input(
                "Heads", 1, 16, task.model["n_heads"], key=f"{task.name}_heads"
            ),
            "d_model": right.number_input(
                "d_model",
                4,
                256,
                task.model["d_model"],
                4,
                key=f"{task.name}_d_model",
            ),
        }
        if not vision:
            asked |= _shape(task)
    return asked


def _shape(task: Task) -> dict[str, Any]:
    left, right = st.columns(2)
    own = task.model.get("positions", "learned")
    positions = left.selectbox(
        "Positions", POSITIONS, POSITIONS.index(own), key=f"{task.name}_positions"
    )
    mask = right.selectbox("Mask", ["causal", "sliding"], key=f"{task.name}_mask")
    asked: dict[str, Any] = {"positions": positions, "mask": mask}
    if mask == "sliding":
        asked["window"] = st.slider("Window", 2, 32, 8, key=f"{task.name}_window")
    asked["feed_forward"] = st.toggle(
        "Feed-forward",
        task.model.get("feed_forward", True),
        key=f"{task.name}_feed_forward",
        help="Without it there is attention alone.",
    )
    return asked
