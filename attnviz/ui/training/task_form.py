"""The form for a small transformer that learns a task from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.train import tasks
from attnviz.train.estimate import Estimate, estimate
from attnviz.train.settings import JobSettings
from attnviz.train.tasks.digits import HELD_OUT
from attnviz.train.tasks.task import Task, prepare, settings_for
from attnviz.train.tasks.transformer import model_options_from_layer
from attnviz.train.training_setup import ProbeExample, n_tokens
from attnviz.ui.error_display import attempt
from attnviz.ui.query_params import linked_choice
from attnviz.ui.training.job_draft import JobDraft
from attnviz.ui.training.schedule_controls import POSITIONS, limit_controls, schedule_controls

if TYPE_CHECKING:
    from attnviz.analysis.lab import Lab

LAB_KEY = "_lab"  # of the session state, where the Layer lab stores its layer
_SOURCES = {"task": "Task default", "lab": "From the Layer lab"}
_IMAGE_PX = 112  # a digit's side, enlarged
_IMAGE_PIXELS = 8  # a digit's own side

# Label and help of each of the tasks' options.
_OPTIONS = {
    "symbols": ("Alphabet size", "Number of distinct letters."),
    "shortest": ("Minimum length", "Letters in the shortest string."),
    "longest": ("Maximum length", "Letters in the longest string."),
    "kinds": ("Bracket types", "1 to 4 of ( [ { <."),
    "brackets_length": ("Prompt length", "Brackets in the prompt, before the model's answer."),
    "text_length": ("Context length (characters)", "How far back the model can look in training."),
    "modulus": ("Modulus", "p in (a + b) mod p."),
    "trained": ("Training fraction", "Fraction of all p² sums; the rest is held out."),
    "first_year": ("First year", ""),
    "last_year": ("Last year", ""),
    "patch": (
        "Patch size (pixels)",
        "Side of the square patches that are the model's tokens: 1, 2 or 4.",
    ),
}


def draft(form: DeltaGenerator, preview: DeltaGenerator) -> JobDraft | None:
    """The form, and the preview of the job; None while its settings are invalid."""
    with form:
        settings = attempt(_form)
    if settings is None:
        return None
    with preview:
        cost = attempt(lambda: _preview(settings))
    return JobDraft(settings, cost) if cost else None


def _form() -> JobSettings:
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
    options = _data_options(task)
    model = _model_options(task)
    schedule = schedule_controls(task.schedule, key=task.name)
    limits = limit_controls()
    probe = _probe_setting(task)
    return settings_for(
        task, options=options, model=model, limits=limits, schedule=schedule, probe=probe
    )


def _preview(settings: JobSettings) -> Estimate:
    """Draws the probe example; returns what the job takes."""
    cost, probe = _checked(settings.to_json())
    st.caption("Probe example: its attention is recorded during training")
    if probe.image is not None:
        st.image(probe.image.resize((_IMAGE_PX, _IMAGE_PX), resample=0))
    else:
        text = probe.text if probe.target is None else f"{probe.text} → {probe.target}"
        st.code(text, language=None, wrap_lines=True)
    return cost


@st.cache_data(max_entries=64, show_spinner=False)
def _checked(settings_json: str) -> tuple[Estimate, ProbeExample]:
    """The job's estimate and its probe.

    Raises:
        AttnVizError: the settings are invalid, which building the model and one batch shows.
    """
    settings = JobSettings.from_json(settings_json)
    setup = prepare(tasks.find(settings.work.task), settings)  # type: ignore[union-attr]
    n = settings.schedule.batch_size
    length = max(1, n_tokens(setup.get_batch(list(range(n)))) // n)
    if setup.processor is not None:
        length = 1 + (_IMAGE_PIXELS // setup.base.config.patch_size) ** 2  # [CLS] and the patches
    return estimate(setup.base, settings, length), setup.probe


def _data_options(task: Task) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "text" in task.options:
        options["text"] = st.text_area(
            "Text", str(task.options["text"]), key="train_text", height=140
        )
    numbers = {name: value for name, value in task.options.items() if name != "text"}
    with st.expander("Data", icon=":material/dataset:"):
        columns = st.columns(max(2, len(numbers)))
        for column, (name, value) in zip(columns, numbers.items(), strict=False):
            label, help = _OPTIONS.get(f"{task.name}_{name}") or _OPTIONS[name]
            options[name] = column.number_input(
                label, value=value, key=f"{task.name}_{name}", help=help or None
            )
    return options


def _probe_setting(task: Task) -> str:
    """`JobSettings.probe`; "" for the task's default."""
    with st.expander("Probe example", icon=":material/visibility:"):
        if task.name == "digits":
            return str(st.slider("Held-out image", 0, HELD_OUT - 1, key="picture"))
        return st.text_input(
            "Text",
            key=f"{task.name}_probe",
            max_chars=2000,
            placeholder="a held-out example",
            help="Its attention is recorded during training. For dates, the answer is appended.",
        ).strip()


def _model_options(task: Task) -> dict[str, Any]:
    """Options of the task's own transformer, or of the Layer lab's layer in a stack."""
    lab: Lab | None = st.session_state.get(LAB_KEY)
    is_vision = task.name == "digits"
    with st.expander("Architecture", icon=":material/account_tree:"):
        if lab is not None and not is_vision and _choose_source() == "lab":
            st.caption(_describe(lab))
            return model_options_from_layer(lab.config, lab.layers)
        if lab is None and not is_vision:
            st.caption("You can also train the layer you set up in the Layer lab.")
        options = _size_options(task)
        if not is_vision:
            options |= _layer_options(task)
    return options


def _choose_source() -> str:
    source: str = st.segmented_control(
        "Settings",
        list(_SOURCES),
        default="task",
        required=True,
        key="train_source",
        format_func=_SOURCES.__getitem__,
        help="The Layer lab's current layer, stacked as many times as there.",
    )
    return source


def _describe(lab: Lab) -> str:
    config = lab.config
    is_masked = config.mask != "none"
    return (
        f"{lab.layers} {'layer' if lab.layers == 1 else 'layers'} of {config.n_heads} "
        f"heads, d_model {config.d_model}, positions {config.positions}, mask "
        f"{config.mask if is_masked else 'causal (with none, the model would see the answer)'}."
    )


def _size_options(task: Task) -> dict[str, Any]:
    left, middle, right = st.columns(3)
    return {
        "n_layers": left.number_input(
            "Layers", 1, 12, task.model["n_layers"], key=f"{task.name}_layers"
        ),
        "n_heads": middle.number_input(
            "Heads", 1, 16, task.model["n_heads"], key=f"{task.name}_heads"
        ),
        "d_model": right.number_input(
            "d_model", 4, 256, task.model["d_model"], 4, key=f"{task.name}_d_model"
        ),
    }


def _layer_options(task: Task) -> dict[str, Any]:
    left, right = st.columns(2)
    default = task.model.get("positions", "learned")
    positions = left.selectbox(
        "Positions", POSITIONS, POSITIONS.index(default), key=f"{task.name}_positions"
    )
    mask = right.selectbox("Mask", ["causal", "sliding"], key=f"{task.name}_mask")
    options: dict[str, Any] = {"positions": positions, "mask": mask}
    if mask == "sliding":
        options["window"] = st.slider("Window", 2, 32, 8, key=f"{task.name}_window")
    options["feed_forward"] = st.toggle(
        "Feed-forward",
        task.model.get("feed_forward", True),
        key=f"{task.name}_feed_forward",
        help="Off gives an attention-only model.",
    )
    return options
