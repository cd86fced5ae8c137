"""Loaded models and traces, shared by every session, worked off by one executor.

Both are read-only: many people look at one model and one trace at once.
"""

from __future__ import annotations

import gc
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.errors import AttnVizError
from attnviz.ui.canvas import GridPayload, grid_payload
from attnviz.ui.executor import Executor, Report, Shelf

if TYPE_CHECKING:
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import Trace

MAX_MODELS = 3  # whole models in memory at once
MAX_TRACES = 64
MAX_GRIDS = 16  # thumbnails of all heads: 1 MB for 270 of them
LOGITS_TOKENS = 256  # up to here all positions' logits are kept: 50 MB at 49,152 words
MAX_TRACE_BYTES = 2 << 30  # 4,096 tokens of a 30-layer model are 0.3 GB


@dataclass(frozen=True)
class ModelChoice:
    """Which weights, where, and in which precision."""

    name: str  # catalog name, hub id, folder or .gguf file
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Sampling:
    """How a model writes, and how much.

    A text, these settings and nothing else decide what is written, so a link holds it, and asking
    for fewer tokens gives the beginning of the same.
    """

    tokens: int
    temperature: float = 0.0  # 0 takes the likeliest token each time
    top_k: int = 0  # 0 draws among all
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Question:
    """What is put to the model."""

    text: str = ""
    target: str = ""  # encoder-decoder: the decoder's text
    pair: str = ""  # encoder: the second segment
    image: bytes = field(default=b"", repr=False, compare=False)
    image_digest: str = ""  # stands for the image in comparisons and keys
    sampling: Sampling | None = None  # the model first writes on, and all of it is looked at

    @classmethod
    def of_image(cls, image: bytes) -> Question:
        return cls(image=image, image_digest=hashlib.sha256(image).hexdigest())


class Shared(NamedTuple):
    """What the whole server process shares."""

    executor: Executor
    models: Shelf
    traces: Shelf
    checks: Shelf
    grids: Shelf
    written: Shelf


@st.cache_resource
def shared() -> Shared:
    return Shared(
        executor=Executor(workers=1),
        models=Shelf(MAX_MODELS, on_change=settle_garbage),
        traces=Shelf(MAX_TRACES, MAX_TRACE_BYTES, size_of=lambda trace: trace.nbytes),
        checks=Shelf(1024),
        grids=Shelf(MAX_GRIDS),
        written=Shelf(MAX_TRACES, MAX_TRACE_BYTES, size_of=lambda found: found.trace.nbytes),
    )


def settle_garbage() -> None:
    """Put what lives long out of the garbage collector's sight.

    Streamlit collects all generations after every script run. With torch and a model loaded, 50
    sessions rerunning at once took 11.5 s that way and 0.5 s after this.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def load(choice: ModelChoice, report: Report) -> Model:
    """The loaded model, from memory if it is there.

    Raises:
        AttnVizError: it can't be found, read or held; the message says which and what to do.
    """
    shelf = shared().models
    key = ("model", choice, last_change(choice.name))

    def action() -> Model:
        import attnviz

        shelf.make_room()
        return attnviz.load(choice.name, device=choice.device, dtype=choice.dtype)

    return shared().executor.run(key, action, shelf, report)


def trace(
    choice: ModelChoice, question: Question, report: Report, limit: int | None = None
) -> Trace:
    """The trace of one question put to one model.

    Args:
        choice: the model.
        question: text or image.
        report: see Executor.run.
        limit: longest text, in tokens.

    Raises:
        AttnVizError: the model can't be loaded, or the question doesn't suit it.
    """
    model = load(choice, report)
    n = check_length(model, question, limit)
    keep = kept(n)
    arguments = arguments_of(question)

    def action() -> Trace:
        made = model.trace(keep=keep, **arguments)
        if not made.layers:
            raise AttnVizError(f"{model.name} has no attention.", "Choose a transformer.")
        return made

    return shared().executor.run(
        ("trace", choice, last_change(choice.name), question),
        action,
        shared().traces,
        report,
    )


def kept(n: int) -> tuple[str, ...]:
    """What a trace of n tokens keeps: of a short one all that is cheap, so that receipts and
    predictions need no second pass."""
    return ("qkv", "residual", *(("output", "logits") if n <= LOGITS_TOKENS else ()))


def kind_of(model: Model) -> str:
    """What a model reads: "vision", "encoder-decoder", "decoder" or "encoder"."""
    from attnviz.trace.structure import is_causal_lm

    if model.tokenizer is None and model.processor is not None:
        return "vision"
    if getattr(model.module.config, "is_encoder_decoder", False):
        return "encoder-decoder"
    return "decoder" if is_causal_lm(model.module) else "encoder"


def fidelity(
    choice: ModelChoice, question: Question, made: Trace, layer: int, report: Report
) -> Fidelity:
    """How far one layer of a trace, recomputed, is from what the layer itself gave."""
    return shared().executor.run(
        ("fidelity", choice, last_change(choice.name), question, layer),
        lambda: made.fidelity(layer=layer),
        shared().checks,
        report,
    )


def grid(choice: ModelChoice, question: Question, made: Trace, report: Report) -> GridPayload:
    """All heads of a trace as thumbnails with their numbers."""
    return shared().executor.run(
        ("grid", choice, last_change(choice.name), question),
        lambda: grid_payload(made),
        shared().grids,
        report,
    )


def last_change(name: str) -> float:
    """When a local model's newest file was written; 0 for a name that is no path."""
    try:
        path = Path(name).expanduser()
        files = [path, *path.iterdir()] if path.is_dir() else [path]
        return max(file.stat().st_mtime for file in files)
    except (OSError, ValueError, RuntimeError):  # no such path, or a name that no path can have
        return 0.0


def check_length(model: Model, question: Question, limit: int | None = None) -> int:
    """The longest text's number of tokens; refused over the limit, before anything is computed."""
    if question.image or model.tokenizer is None:
        return 0
    from attnviz.models.tokens import count

    if not question.text:
        raise AttnVizError("The text is empty.", "Type or paste something.")
    n = count(model.tokenizer, question.text, question.pair or None)
    if question.target:
        n = max(n, count(model.tokenizer, question.target))
    if limit is not None and n > limit:
        raise AttnVizError(
            f"The text has {n:,} tokens and the limit is {limit:,}.",
            "Shorten it, or raise the limit in the sidebar.",
        )
    return n


def arguments_of(question: Question) -> dict[str, Any]:
    """The question as ``Model.trace`` takes it."""
    if question.image:
        from attnviz.models.images import open_image

        return {"text": None, "image": open_image(question.image)}
    return {
        "text": question.text,
        "target": question.target or None,
        "pair": question.pair or None,
    }


def waiting_line(where: DeltaGenerator, doing: str) -> Report:
    """A report that shows the place in the queue in ``where``.

    Each call is also the moment at which Streamlit may stop or rerun the waiting page.
    """

    def report(ahead: int) -> None:
        people = "1 request" if ahead == 1 else f"{ahead} requests"
        place = f"Waiting, {people} in front" if ahead else f"{doing} …"
        where.caption(f":material/hourglass_top: {place}")

    return report
