"""The first door: a small transformer learns a task from nothing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from attnviz.train import tasks
from attnviz.train.estimate import Estimate, estimate
from attnviz.train.settings import JobSettings, Limits
from attnviz.train.tasks.digits import HELD_OUT
from attnviz.train.tasks.task import Task, prepare, settings_for
from attnviz.train.tasks.transformer import model_options_from_layer
from attnviz.train.training_setup import ProbeExample, n_tokens
from attnviz.ui.query_params import linked_choice
from attnviz.ui.training.schedule_controls import POSITIONS, limits, schedule

LAB = "_lab"  # what the Layer lab last showed
_SOURCES = {"task": "The task's own", "lab": "The Layer lab's"}
_ENLARGED = 112  # px, the side of a digit's picture

# What a task's option is called, and what it says of it.
_ASKED = {
    "symbols": ("Alphabet", "How many different letters there are."),
    "shortest": ("Shortest", "Letters in the shortest string."),
    "longest": ("Longest", "Letters in the longest string."),
    "kinds": ("Kinds", "Of brackets: 1 to 4 of ( [ { <."),
    "brackets_length": ("Brackets given", "How many stand before those that the model writes."),
    "text_length": ("Characters a piece", "How far back the model can look while it learns."),
    "modulus": ("Modulus", "p in a + b modulo p."),
    "trained": ("Share trained on", "Of all p times p sums; the rest is held out."),
    "first_year": ("First year", ""),
    "last_year": ("Last year", ""),
    "patch": ("Patch, in pixels", "The side of the squares that are its tokens: 1, 2 or 4."),
}


def form() -> JobSettings:
    """The controls, and the job that they ask for (not yet checked)."""
    task = tasks.find(
        linked_choice(
            st.pills,
            "Task",
            {name: task.title for name, task in tasks.TASKS.items()},
            key="task",
            wrap=True,
        )
    )
    st.caption(task.description)
    options = _options(task)
    model = _model(task)
    numbers = schedule(task.schedule, key=task.name)
    bounds: Limits = limits()
    probe = _probe(task)
    return settings_for(
        task, options=options, model=model, limits=bounds, schedule=numbers, probe=probe
    )


def preview(settings: JobSettings) -> Estimate:
    """Draws the example whose attention will be kept, and says what the job takes."""
    about, probe = prepared(settings.to_json())
    st.caption("The example whose attention is kept while the model learns")
    if probe.image is not None:
        st.image(probe.image.resize((_ENLARGED, _ENLARGED), resample=0))
    else:
        words = probe.text if probe.target is None else f"{probe.text} → {probe.target}"
        st.code(words, language=None, wrap_lines=True)
    return about


@st.cache_data(max_entries=64, show_spinner=False)
def prepared(settings_json: str) -> tuple[Estimate, ProbeExample]:
    """What the job takes, and its example; building its model and one batch checks the settings."""
    settings = JobSettings.from_json(settings_json)
    made = prepare(tasks.find(settings.work.task), settings)  # type: ignore[union-attr]
    size = settings.schedule.batch_size
    length = max(1, n_tokens(made.get_batch(list(range(size)))) // size)
    if made.processor is not None:
        length = 1 + (8 // made.base.config.patch_size) ** 2
    return estimate(made.base, settings, length), made.probe


def _options(task: Task) -> dict[str, Any]:
    """The task's own numbers, and the text where there is one."""
    asked: dict[str, Any] = {}
    if "text" in task.options:
        asked["text"] = st.text_area(
            "Text", str(task.options["text"]), key="train_text", height=140
        )
    numbers = {name: value for name, value in task.options.items() if name != "text"}
    with st.expander("The task's data", icon=":material/dataset:"):
        columns = st.columns(max(2, len(numbers)))
        for column, (name, value) in zip(columns, numbers.items(), strict=False):
            label, help = _ASKED.get(f"{task.name}_{name}") or _ASKED[name]
            asked[name] = column.number_input(
                label, value=value, key=f"{task.name}_{name}", help=help or None
            )
    return asked


def _probe(task: Task) -> str:
    """Which example's attention is kept, as the job's settings say it; "" is the task's own."""
    with st.expander("The example", icon=":material/visibility:"):
        if task.name == "digits":
            return str(st.slider("Which of the held-out pictures", 0, HELD_OUT - 1, key="picture"))
        return st.text_input(
            "Text",
            key=f"{task.name}_probe",
            max_chars=2000,
            placeholder="one that is held out",
            help="Its attention is kept while the model learns. For a date its answer is added.",
        ).strip()


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
            masked = lab.config.mask != "none"
            st.caption(
                f"{lab.layers} {'layer' if lab.layers == 1 else 'layers'} of {lab.config.n_heads} "
                f"heads, d_model {lab.config.d_model}, positions {lab.config.positions}, mask "
                f"{lab.config.mask if masked else 'causal, since without one the answer is seen'}."
            )
            return model_options_from_layer(lab.config, lab.layers)
        if lab is None and not vision:
            st.caption("The layer that you shape in the Layer lab can be trained here as well.")
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
