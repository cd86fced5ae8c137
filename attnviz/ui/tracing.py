"""Traces and fidelity checks, from the cache or through the executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.errors import AttnVizError
from attnviz.models import limits
from attnviz.trace.lengths import check_length
from attnviz.trace.requests import ModelChoice, TraceRequest
from attnviz.trace.size import layers_of, trace_bytes
from attnviz.ui import memory
from attnviz.ui.executor import Job, Report
from attnviz.ui.model_loading import identity, load
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import key_of, register

if TYPE_CHECKING:
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import Trace

# Up to this length all positions' logits are kept: 50 MB at a vocabulary of 49,152.
LOGITS_TOKENS = 256


def trace(
    choice: ModelChoice, request: TraceRequest, report: Report, limit: int | None = None
) -> Trace:
    """The trace of one request in one model.

    Args:
        request: a text or an image, without sampling.
        report: see ``Executor.run``.
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
        total = layers_of(model)
        new = model.trace(keep=keep, on_layer=lambda n: job.step(n, max(n, total)), **arguments)
        if not new.layers:
            raise AttnVizError(f"{model.name} has no attention.", "Choose a transformer.")
        return new

    return register(shared().work.run(key, action, shared().values, report), key)


def make_room(model: Model, n: int, keep: tuple[str, ...]) -> None:
    """Drop from the cache what a trace of n tokens would push out, before it is made.

    Raises:
        AttnVizError: there is not enough memory for it.
    """
    nbytes = trace_bytes(model, n, keep)
    shared().values.make_room(nbytes)
    if nbytes > memory.MIN_BUDGET:
        limits.require_memory(nbytes, f"Tracing {n:,} tokens with {model.name}")


def what_to_keep(n: int) -> tuple[str, ...]:
    """The ``keep`` of a trace of n tokens.

    Of a short text it is all that is cheap, so that receipts and predictions need no second pass.
    """
    return ("qkv", "residual", *(("output", "logits") if n <= LOGITS_TOKENS else ()))


def fidelity(
    choice: ModelChoice, request: TraceRequest, trace: Trace, layer: int, report: Report
) -> Fidelity:
    """How far one layer of a trace, recomputed, is from the layer's own output, in all rows.

    A trace does not keep its model alive. If the model was loaded again meanwhile, the check runs
    on a new trace.
    """
    model = load(choice, report)
    key = key_of(trace)

    def action(job: Job) -> Fidelity:
        def goes_on() -> bool:
            job.done_steps, job.total_steps = min(job.done_steps + 1, layer + 1), layer + 1
            return job.wanted()

        check = trace.fidelity(layer, should_continue=goes_on)
        if check.rows < check.total_rows and request.sampling is None:
            job.check()
            if key[1:4] == identity(model):
                new = model.trace(**request.arguments())
                job.done_steps = 0
                check = new.fidelity(layer, should_continue=goes_on)
        job.check()
        return check

    return shared().work.run((*key, "receipt", layer), action, shared().values, report)
