"""Loaded models and traces, shared by every session, worked off by one executor.

Both are read-only: many people look at one model and one trace at once.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.canvas import GridLayer, GridPayload, grid_layer, grid_of
from attnviz.canvas.remember import Remember
from attnviz.errors import AttnVizError
from attnviz.models import limits
from attnviz.ui import memory
from attnviz.ui.cache import Cache, Key
from attnviz.ui.executor import Executor, Job, Report

if TYPE_CHECKING:
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import Trace

MAX_MODELS = 3  # whole models in memory at once
LOGITS_TOKENS = 256  # up to here all positions' logits are kept: 50 MB at 49,152 words

T = TypeVar("T")


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
    """What the whole server process shares.

    Attributes:
        work: for what takes long: loading, forward passes, all heads at once.
        views: for what one look needs, so that a look waits for nobody's forward pass.
        models: whole models. values: all that was computed with them.
    """

    work: Executor
    views: Executor
    models: Cache
    values: Cache


@st.cache_resource
def shared() -> Shared:
    models = Cache(max_entries=MAX_MODELS, on_drop=memory.tidy)
    values = Cache(memory.budget, on_drop=memory.give_back)
    limits.releases[:] = [values.free, models.free]  # the cheapest to make again first
    return Shared(
        work=Executor(on_idle=memory.give_back, name="model-work"),
        views=Executor(on_idle=memory.give_back, name="views"),
        models=models,
        values=values,
    )


def load(choice: ModelChoice, report: Report) -> Model:
    """The loaded model, from memory if it is there and its files are what they were.

    Raises:
        AttnVizError: it can't be found, read or held; the message says which and what to do.
    """
    from attnviz.models.loading import stamp_of

    models = shared().models
    key = ("model", choice, stamp_of(choice.name))

    def action(job: Job) -> Model:
        import attnviz

        models.discard(lambda other: other[1] == choice)  # its files were others then
        models.make_room()
        model = attnviz.load(choice.name, device=choice.device, dtype=choice.dtype)
        memory.settle_garbage()
        return model

    return shared().work.run(key, action, models, report)


def identity(model: Model) -> Key:
    """What tells a loaded model from every other: its content, where it runs, its precision.

    It is the loaded model's own, whatever became of its files since.
    """
    return (model.checkpoint.revision, str(model.device), str(model.dtype))


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
    key = ("trace", *identity(model), question)

    def action(job: Job) -> Trace:
        make_room(model, n, keep)
        made = model.trace(keep=keep, **arguments)
        if not made.layers:
            raise AttnVizError(f"{model.name} has no attention.", "Choose a transformer.")
        return made

    return known(shared().work.run(key, action, shared().values, report), key)


def make_room(model: Model, n: int, keep: tuple[str, ...]) -> None:
    """Let go of what a trace of n tokens would push out, before it is made.

    Raises:
        AttnVizError: there is not enough memory for it.
    """
    nbytes = trace_bytes(model, n, keep)
    shared().values.make_room(nbytes)
    if nbytes > memory.LEAST:
        limits.require_memory(nbytes, f"What {model.name} does with {n:,} tokens")


def trace_bytes(model: Model, n: int, keep: tuple[str, ...]) -> int:
    """About how large a trace of n tokens will be, from the sizes in the model's config."""
    config = model.module.config.get_text_config()
    d_model = getattr(config, "hidden_size", 0) or 0
    heads = getattr(config, "num_attention_heads", None) or 1
    n_kv = getattr(config, "num_key_value_heads", None) or heads
    n_layers = getattr(config, "num_hidden_layers", 0) or 0
    n_layers += getattr(config, "num_decoder_layers", None) or 0
    vectors = 2 + 2 * n_kv / heads + ("output" in keep)  # stream, Q, K and V, the layer's own
    logits = (getattr(config, "vocab_size", 0) or 0) if "logits" in keep else 0
    return int(n * (n_layers * vectors * d_model + logits) * model.dtype.itemsize)


# Under which key of the cache a trace is.
_KEYS: weakref.WeakKeyDictionary[Trace, Key] = weakref.WeakKeyDictionary()


def known(made: Trace, key: Key) -> Trace:
    """The trace, whose values are filed under this key from now on."""
    _KEYS.setdefault(made, key)
    return made


def key_of(made: Trace) -> Key:
    """Where the trace is filed."""
    return _KEYS[made]


def filed(key: Key) -> Trace | None:
    """The trace that is filed there, if it still is."""
    try:
        value = shared().values.get(key)
    except KeyError:
        return None
    found: Trace = getattr(value, "trace", value)  # what a model wrote has one
    return found


def remembering(made: Trace, report: Report) -> Remember:
    """How the values of a trace are come by: from the cache, else from the worker for views."""
    its_key = _KEYS[made]

    def remember(key: Key, make: Callable[[], T]) -> T:
        values = shared().values
        values.touch(its_key)  # a trace that is looked at is used
        found: T = shared().views.run((*its_key, *key), lambda job: make(), values, report)
        return found

    return remember


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
    """How far one layer of a trace, recomputed, is from what the layer itself gave, in all rows.

    A trace does not keep its model. If that was loaded anew meanwhile, it is asked once more.
    """
    model = load(choice, report)
    key = _KEYS[made]

    def action(job: Job) -> Fidelity:
        found = made.fidelity(layer, wanted=job.wanted)
        if found.rows < found.of and question.sampling is None:
            job.check()
            if key[1:4] == identity(model):
                again = model.trace(**arguments_of(question))
                found = again.fidelity(layer, wanted=job.wanted)
        job.check()
        return found

    return shared().work.run((*key, "receipt", layer), action, shared().values, report)


def grid(made: Trace, report: Report, seconds: float = 0.0) -> GridPayload:
    """All heads of a trace as thumbnails with their numbers, as far as they were read.

    Each layer is work of its own, which is kept, and between two of them others have their turn.

    Args:
        seconds: no layer is begun later than this.
    """
    work, values = shared().work, shared().values
    until = time.monotonic() + seconds
    found: list[GridLayer] = []
    for layer in made.layers:
        key = (*_KEYS[made], "grid", layer.index)
        if layer.source != "refused" and (time.monotonic() < until or key in values):
            read = partial(_grid_layer, made, layer.index)
            found.append(work.run(key, read, values, report))
    return grid_of(made, found)


def _grid_layer(made: Trace, layer: int, job: Job) -> GridLayer:
    return grid_layer(made, layer)


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


def no_report(ahead: int) -> None:
    """A report that nobody reads."""


def waiting_line(where: DeltaGenerator, doing: str) -> Report:
    """A report that shows the place in the queue in ``where``.

    Each call is also the moment at which Streamlit may stop or rerun the waiting page.
    """

    def report(ahead: int) -> None:
        people = "1 request" if ahead == 1 else f"{ahead} requests"
        place = f"Waiting, {people} in front" if ahead else f"{doing} …"
        where.caption(f":material/hourglass_top: {place}")

    return report
