"""The second door: a loaded model goes on learning on a person's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from attnviz.errors import AttnVizError
from attnviz.trace.requests import ModelChoice
from attnviz.train.estimate import Estimate, estimate
from attnviz.train.finetune.dataset import MAX_HELD_OUT, check
from attnviz.train.finetune.objectives import supported_objectives
from attnviz.train.settings import FinetuneWork, JobSettings, Schedule
from attnviz.ui.training.schedule_controls import limits, schedule

if TYPE_CHECKING:
    from attnviz.trace.model import Model

OBJECTIVES = {
    "causal": "Continue text",
    "masked": "Guess masked words",
    "classify": "Classify texts",
    "seq2seq": "Source to target",
}
NOTHING_YET = ("pasted.txt", "rows.csv")  # what data without an upload is called
BYTES_A_TOKEN = 4  # of English, about
METHODS = {"lora": "LoRA", "last": "Last layers", "full": "All weights"}
FIRST = Schedule(
    steps=20, batch_size=1, learning_rate=2e-4, warmup=2, evaluations=4, checkpoints=2, snapshots=8
)


@dataclass(frozen=True)
class JobRequest:
    """The job asked for, and the data that goes into its folder."""

    settings: JobSettings
    data: bytes

    def check(self) -> int:
        """Its number of rows. Raises AttnVizError with the line that is wrong."""
        work = self.settings.work
        assert isinstance(work, FinetuneWork)
        if not self.data and work.data in NOTHING_YET:
            raise AttnVizError("There is no data yet.", "Upload a file, or paste a text.")
        return check(work, self.data)


def form(model: Model, choice: ModelChoice) -> JobRequest | None:
    """The controls; None where the model can be taught nothing."""
    possible = supported_objectives(model)
    if not possible:
        st.info("Only language models are fine-tuned here: choose one in the sidebar.")
        return None
    objective = st.segmented_control(
        "Objective",
        possible,
        default=possible[0],
        required=True,
        key="objective",
        format_func=OBJECTIVES.__getitem__,
    )
    data, name = _data(objective)
    columns = _columns(objective, name)
    method, extra = _method()
    left, right = st.columns(2)
    length = left.number_input("Longest example, in tokens", 4, 8192, 64, key="ft_length")
    share = right.number_input(
        "Share held out",
        0.0,
        0.5,
        0.1,
        0.05,
        key="ft_held_out",
        help="Of the data: never trained on, for an honest loss beside the training's.",
    )
    numbers = schedule(FIRST, key="ft")
    bounds = limits()
    probe, answer = _probe(objective)
    work = FinetuneWork(
        choice.name,
        name,
        objective,  # type: ignore[arg-type]  # one of OBJECTIVES
        method,
        length=length,
        held_out=share,
        **columns,
        **extra,
    )
    title = f"{choice.name.rstrip('/').rsplit('/', 1)[-1]} tuned"
    device = str(model.device)
    return JobRequest(JobSettings(title, work, numbers, bounds, device, probe, answer), data)


def estimated(model: Model, asked: JobRequest, rows: int) -> Estimate:
    """What the job takes, counted on the loaded model, which stays as it is."""
    work = asked.settings.work
    assert isinstance(work, FinetuneWork)
    length = work.length * (2 if work.objective == "seq2seq" else 1)
    if work.objective in ("causal", "masked"):
        rows = len(asked.data) // (BYTES_A_TOKEN * work.length)
    held_out = min(MAX_HELD_OUT, max(1, round(rows * work.held_out)))
    return estimate(model.module, asked.settings, length, held_out)


def _data(objective: str) -> tuple[bytes, str]:
    """The bytes and a file name that tells their kind."""
    running = objective in ("causal", "masked")
    types = ["txt", "jsonl", "csv"] if running else ["csv", "jsonl"]
    upload = st.file_uploader("Data", type=types, key=f"ft_file_{running}")
    if upload is not None:
        return upload.getvalue(), upload.name
    if running:
        text = st.text_area("or a text", key="ft_text", height=120)
        return text.encode(errors="replace"), NOTHING_YET[0]
    return b"", NOTHING_YET[1]


def _columns(objective: str, name: str) -> dict[str, Any]:
    """Which columns to read, where there are any."""
    wanted = {
        "classify": (("text_column", "text"), ("label_column", "label")),
        "seq2seq": (("source_column", "source"), ("target_column", "target")),
    }.get(objective, () if name.endswith(".txt") else (("text_column", "text"),))
    asked = {}
    for place, (field, first) in zip(st.columns(2), wanted, strict=False):
        label = f"Column of the {first}"
        asked[field] = place.text_input(label, first, key=f"ft_{field}").strip() or first
    return asked


def _probe(objective: str) -> tuple[str, str]:
    """The text whose attention is kept, and what an encoder-decoder's decoder reads beside it."""
    with st.expander("The example", icon=":material/visibility:"):
        probe = st.text_input(
            "Text",
            key="ft_probe",
            max_chars=2000,
            placeholder="from the held-out data",
            help="Its attention is kept while the model learns.",
        )
        if objective != "seq2seq":
            return probe.strip(), ""
        answer = st.text_input("Its target", key="ft_probe_target", max_chars=2000)
        if probe.strip() and not answer.strip():
            raise AttnVizError("The example has no target.", "Give the decoder something to read.")
    return probe.strip(), answer.strip()


def _method() -> tuple[Any, dict[str, Any]]:
    method = st.segmented_control(
        "What learns",
        list(METHODS),
        default="lora",
        required=True,
        key="ft_method",
        format_func=METHODS.__getitem__,
        help="LoRA trains two thin matrices beside each linear map of the attention "
        "(Hu et al. 2021), and leaves the model's own weights alone.",
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
            help="The matrices' product counts alpha / rank times.",
        )
        return method, {"rank": rank, "alpha": alpha}
    if method == "last":
        return method, {"last_layers": st.number_input("Layers", 1, 200, 2, key="ft_last")}
    return method, {}
