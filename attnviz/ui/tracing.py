"""Traces and fidelity checks made through the executor, with the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.errors import AttnVizError
from attnviz.models import limits
from attnviz.trace.lengths import check_length
from attnviz.trace.requests import ModelChoice, TraceRequest
from attnviz.trace.size import trace_bytes
from attnviz.ui import memory
from attnviz.ui.executor import Job, Report
from attnviz.ui.model_loading import identity, load
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import key_of, register

if TYPE_CHECKING:
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import Trace

LOGITS_TOKENS = 256  # up to here all positions' logits are kept: 50 MB at 49,152 words


def trace(
    choice: ModelChoice, request: TraceRequest, report: Report, limit: int | None = None
) -> Trace:
    """The trace of one request in one model.

    Args:
        choice: the model.
        request: text or image.
        report: see Executor.run.
        limit: longest text, in tokens.

    Raises:
        AttnVizError: the model can't be loaded, or the request doesn't suit it.
    """
    model = load(choice, report)
    n = check_length(model, request, limit)
    keep = what_to_keep(n)
    arguments = request.arguments()
    key = ("trace", *identity(model), request)

    def action(job: Job) -> Trace:
        make_room(model, n, keep)
        made = model.trace(keep=keep, **arguments)
        if not made.layers:
            raise AttnVizError(f"{model.name} has no attention.", "Choose a transformer.")
        return made

    return register(shared().work.run(key, action, shared().values, report), key)


def make_room(model: Model, n: int, keep: tuple[str, ...]) -> None:
    """Let go of what a trace of n tokens would push out, before it is made.

    Raises:
        AttnVizError: there is not enough memory for it.
    """
    nbytes = trace_bytes(model, n, keep)
    shared().values.make_room(nbytes)
    if nbytes > memory.LEAST:
        limits.require_memory(nbytes, f"What {model.name} does with {n:,} tokens")


def what_to_keep(n: int) -> tuple[str, ...]:
    """What a trace of n tokens keeps: of a short one all that is cheap, so that receipts and
    predictions need no second pass."""
    return ("qkv", "residual", *(("output", "logits") if n <= LOGITS_TOKENS else ()))


def fidelity(
    choice: ModelChoice, request: TraceRequest, made: Trace, layer: int, report: Report
) -> Fidelity:
    """How far one layer of a trace, recomputed, is from what the layer itself gave, in all rows.

    A trace does not keep its model. If that was loaded anew meanwhile, it is asked once more.
    """
    model = load(choice, report)
    key = key_of(made)

    def action(job: Job) -> Fidelity:
        found = made.fidelity(layer, should_continue=job.wanted)
        if found.rows < found.total_rows and request.sampling is None:
            job.check()
            if key[1:4] == identity(model):
                again = model.trace(**request.arguments())
                found = again.fidelity(layer, should_continue=job.wanted)
        job.check()
        return found

    return shared().work.run((*key, "receipt", layer), action, shared().values, report)
