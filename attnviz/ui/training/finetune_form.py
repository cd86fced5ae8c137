"""The form for fine-tuning a loaded model on the person's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.errors import AttnVizError
from attnviz.train.estimate import estimate
from attnviz.train.finetune.dataset import MAX_HELD_OUT, check
from attnviz.train.finetune.objectives import supported_objectives
from attnviz.train.finetune.samples import sample
from attnviz.train.settings import FinetuneWork, JobSettings, Schedule
from attnviz.ui import model_loading
from attnviz.ui.error_display import attempt
from attnviz.ui.model_controls import model_controls
from attnviz.ui.training.job_draft import JobDraft
from attnviz.ui.training.schedule_controls import limit_controls, schedule_controls
from attnviz.ui.waiting import queue_status

if TYPE_CHECKING:
    from attnviz.trace.model import Model

OBJECTIVES = {
    "causal": "Next token",
    "masked": "Masked tokens",
    "classify": "Text classification",
    "seq2seq": "Sequence to sequence",
}
METHODS = {"lora": "LoRA", "last": "Last layers", "full": "All weights"}
PLACEHOLDERS = ("pasted.txt", "rows.csv")  # names of data without an uploaded file
BYTES_PER_TOKEN = 4  # of English text, roughly
DEFAULTS = Schedule(
    steps=20, batch_size=1, learning_rate=2e-4, warmup=2, evaluations=4, checkpoints=2, snapshots=8
)


@dataclass(frozen=True)
class FinetuneRequest:
    """What the form describes, not yet checked.

    Attributes:
        data: the uploaded file's bytes.
    """

    settings: JobSettings
    work: FinetuneWork
    data: bytes


def draft(caption: DeltaGenerator, form: DeltaGenerator, errors: DeltaGenerator) -> JobDraft | None:
    """The sidebar's model, the form, and the checked job; None while something is missing.

    Args:
        caption: the placeholder below the page's header.
        errors: where errors in the data are shown.
    """
    with st.sidebar:
        choice, _, model_errors = model_controls()
    report = queue_status(caption, "Loading")
    model = attempt(lambda: model_loading.load(choice, report), model_errors) if choice else None
    caption.caption("Trains a copy; the loaded model is not modified.")
    if choice is None or model is None:
        return None
    with form:
        request = attempt(lambda: _form(model, choice.name))
    if request is None:
        return None
    with errors:
        if not request.data and request.work.data in PLACEHOLDERS:
            st.info("Add your data or use the sample to see what the training takes.")
            return None
        return attempt(lambda: _checked(model, request))


def _form(model: Model, name: str) -> FinetuneRequest | None:
    """The controls; None for a model that cannot be fine-tuned."""
    possible = supported_objectives(model)
    if not possible:
        st.info("Fine-tuning supports language models only. Choose one in the sidebar.")
        return None
    objective = st.segmented_control(
        "Objective",
        possible,
        default=possible[0],
        required=True,
        key="objective",
        format_func=OBJECTIVES.__getitem__,
    )
    data, file_name = _data(model, objective)
    columns = _columns(objective, file_name)
    method, method_options = _method()
    length, held_out = _example_controls()
    schedule = schedule_controls(DEFAULTS, key="ft")
    limits = limit_controls()
    probe, probe_target = _probe(objective)
    work = FinetuneWork(
        name,
        file_name,
        objective,  # type: ignore[arg-type]  # one of OBJECTIVES
        method,
        length=length,
        held_out=held_out,
        **columns,
        **method_options,
    )
    title = f"{name.rstrip('/').rsplit('/', 1)[-1]} tuned"
    settings = JobSettings(title, work, schedule, limits, str(model.device), probe, probe_target)
    return FinetuneRequest(settings, work, data)


def _checked(model: Model, request: FinetuneRequest) -> JobDraft:
    """The request with its estimate, from the shapes of the loaded model.

    Raises:
        AttnVizError: the data is invalid.
    """
    work, data = request.work, request.data
    n = check(work, data)
    if work.objective in ("causal", "masked"):
        n = len(data) // (BYTES_PER_TOKEN * work.length)
    length = work.length * (2 if work.objective == "seq2seq" else 1)
    held_out = min(MAX_HELD_OUT, max(1, round(n * work.held_out)))
    cost = estimate(model.module, request.settings, length, held_out)
    return JobDraft(request.settings, cost, data)


def _data(model: Model, objective: str) -> tuple[bytes, str]:
    """The data, and a file name whose suffix is its format."""
    is_text = objective in ("causal", "masked")
    types = ["txt", "jsonl", "csv"] if is_text else ["csv", "jsonl"]
    upload = st.file_uploader("Data", type=types, key=f"ft_file_{is_text}")
    if upload is not None:
        return upload.getvalue(), upload.name
    if is_text:
        text = st.text_area("Or paste text", key="ft_text", height=120)
        if text:
            return text.encode(errors="replace"), PLACEHOLDERS[0]
    return _sample_data(model, objective, PLACEHOLDERS[0 if is_text else 1])


def _sample_data(model: Model, objective: str, empty: str) -> tuple[bytes, str]:
    """A sample, once it was asked for; until then nothing, under the name ``empty``."""
    found = sample(objective, model.tokenizer)  # type: ignore[arg-type]  # one of OBJECTIVES
    key = f"_ft_sample_{objective}"
    if not st.session_state.get(key):
        if st.button(f"Use a sample: {found.says}", icon=":material/article:", key="ft_sample"):
            st.session_state[key] = True
            st.rerun()
        return b"", empty
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Sample data: {found.says}.", width="content")
        st.download_button(
            "Download", found.data, file_name=found.name, type="tertiary", on_click="ignore"
        )
        if st.button("Remove", key="ft_no_sample", type="tertiary"):
            st.session_state[key] = False
            st.rerun()
    return found.data, found.name


def _columns(objective: str, file_name: str) -> dict[str, Any]:
    """The columns to read, for formats that have any."""
    wanted = {
        "classify": (("text_column", "text"), ("label_column", "label")),
        "seq2seq": (("source_column", "source"), ("target_column", "target")),
    }.get(objective, () if file_name.endswith(".txt") else (("text_column", "text"),))
    columns = {}
    for box, (field, default) in zip(st.columns(2), wanted, strict=False):
        label = f"{default.capitalize()} column"
        columns[field] = box.text_input(label, default, key=f"ft_{field}").strip() or default
    return columns


def _method() -> tuple[Any, dict[str, Any]]:
    """The method, and its options for `FinetuneWork`."""
    method = st.segmented_control(
        "Trainable weights",
        list(METHODS),
        default="lora",
        required=True,
        key="ft_method",
        format_func=METHODS.__getitem__,
        help="LoRA trains a low-rank update to each linear layer of the attention "
        "(Hu et al. 2021) and freezes the model's own weights.",
    )
    if method == "lora":
        left, right = st.columns(2)
        rank = left.number_input("Rank", 1, 256, 8, key="ft_rank")
        alpha = right.number_input(
            "Alpha",
            0.1,
            1024.0,
            16.0,
            key="ft_alpha",
            help="The update is scaled by alpha / rank.",
        )
        return method, {"rank": rank, "alpha": alpha}
    if method == "last":
        return method, {"last_layers": st.number_input("Layers", 1, 200, 2, key="ft_last")}
    return method, {}


def _example_controls() -> tuple[int, float]:
    """The longest example in tokens, and the share that is held out."""
    left, right = st.columns(2)
    length = left.number_input("Maximum example length (tokens)", 4, 8192, 64, key="ft_length")
    held_out = right.number_input(
        "Held-out fraction",
        0.0,
        0.5,
        0.1,
        0.05,
        key="ft_held_out",
        help="Fraction of the data kept out of training and used for evaluation.",
    )
    return length, held_out


def _probe(objective: str) -> tuple[str, str]:
    """The probe's text, and the decoder's text for an encoder-decoder."""
    with st.expander("Probe example", icon=":material/visibility:"):
        probe = st.text_input(
            "Text",
            key="ft_probe",
            max_chars=2000,
            placeholder="taken from the held-out data",
            help="Its attention is recorded during training.",
        )
        if objective != "seq2seq":
            return probe.strip(), ""
        target = st.text_input("Target", key="ft_probe_target", max_chars=2000)
        if probe.strip() and not target.strip():
            raise AttnVizError("The probe example has no target.", "Type the decoder's input.")
    return probe.strip(), target.strip()
