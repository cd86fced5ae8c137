"""What recording costs, on GPT-2-small's shape with random weights.

    python -m benchmarks.trace

Times are the best of several runs, the ones compared taken in turns. Memory is the peak resident
size of a process of its own less what it had before the pass, since an allocator's peak cannot be
taken back. glibc keeps freed blocks below 32 MB for later, so that resident memory is more than
what is in use; the children give them back (MALLOC_MMAP_THRESHOLD_), and the line "with glibc's
own heap" says what it is when they do not.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import psutil
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import attnviz
from attnviz.trace import AttentionMap, Trace
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import QKVRecord
from attnviz.trace.terms import causal
from benchmarks.figure import Figure, in_child, show

TITLE = "Recording a forward pass (GPT-2-small's shape)"
_IN_USE = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
ALL = ("qkv", "residual", "logits")


def measure() -> list[Figure]:
    """Time and memory of a trace against the plain forward, and of an overview."""
    return [*_times(), *_memory(), *_long(), _overview()]


def _model(implementation: str = "sdpa") -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(n_positions=16_384, attn_implementation=implementation)
    return GPT2LMHeadModel(config).eval()


def _ids(n: int) -> torch.Tensor:
    return torch.randint(0, 50_257, (1, n), generator=torch.Generator().manual_seed(n))


def _best(runs: dict[str, Callable[[], object]], times: int) -> dict[str, float]:
    """The shortest time of each, in seconds; they take turns, so that load falls on all alike."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(times):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _times() -> list[Figure]:
    module = _model()
    model = attnviz.wrap(module)
    ids = _ids(1024)

    def plain() -> None:
        with torch.no_grad():
            module(input_ids=ids, use_cache=False)

    plain()
    best = _best(
        {
            "plain": plain,
            "all": lambda: model.trace(inputs={"input_ids": ids}, keep=ALL),
            "last": lambda: model.trace(inputs={"input_ids": ids}),
        },
        times=7,
    )
    every, last = best["all"] / best["plain"], best["last"] / best["plain"]
    said = f"{every:.2f} x ({best['all']:.2f} s : {best['plain']:.2f} s)"
    return [
        Figure("`trace()` : plain SDPA forward, 1,024 tokens", "<= 1.10 x", said, every <= 1.1),
        Figure("... keeping the last logits only, as it does by default", "", f"{last:.2f} x"),
    ]


def _memory() -> list[Figure]:
    figures = []
    for heap, environment in (("", _IN_USE), (", with glibc's own heap", {})):
        plain, every, last = (
            in_child("benchmarks.trace", way, "1024", **environment)
            for way in ("plain", "all", "last")
        )
        more = (every["peak"] - plain["peak"]) / every["kept"]
        less = last["peak"] / plain["peak"]
        size = f"{every['kept'] / 2**20:.0f} MiB of Q, K, V and residual"
        mib = f"{last['peak'] / 2**20:.0f} : {plain['peak'] / 2**20:.0f} MiB"
        figures += [
            Figure(
                f"peak memory over the plain forward's : bytes kept{heap}",
                "" if heap else "<= 1.3 x",
                f"{more:.2f} x ({size})",
                None if heap else more <= 1.3,
            ),
            Figure(
                f"peak memory, last logits only : plain forward{heap}",
                "" if heap else "< 1 x",
                f"{less:.2f} x ({mib})",
                None if heap else less < 1,
            ),
        ]
    return figures


def _long() -> list[Figure]:
    mine = in_child("benchmarks.trace", "last", "4096")
    said = f"{mine['peak'] / 2**30:.2f} GiB, {mine['seconds']:.1f} s"
    needed = 4 * 12 * 12 * 4096**2  # the float32 weights of 144 heads, which eager returns
    figures = [Figure("trace at 4,096 tokens: peak memory, time", "works", said, True)]
    if psutil.virtual_memory().available < 2 * needed:
        said = f"at least {needed / 2**30:.1f} GiB (not run: too little memory free)"
        return [*figures, Figure("eager `output_attentions` at 4,096 tokens", "", said)]
    eager = in_child("benchmarks.trace", "eager", "4096")
    said = f"{eager['peak'] / 2**30:.2f} GiB, {eager['seconds']:.1f} s"
    return [*figures, Figure("eager `output_attentions` at 4,096 tokens", "", said)]


def _overview() -> Figure:
    got = in_child("benchmarks.trace", "overview", "16384")
    said = f"{got['seconds']:.2f} s, {got['peak'] / 2**20:.0f} MiB"
    return Figure(
        "one head's 512-pixel overview at 16,384 tokens: time, extra memory",
        "< 1 s, < 300 MiB",
        said,
        got["seconds"] < 1 and got["peak"] < 300 * 2**20,
    )


def long_overview(n: int) -> Callable[[], Tensor]:
    """What computes the 512-pixel overview of one causal head of n random queries and keys."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, n, 64, generator=g) for _ in range(3))
    a = AttentionMap(QKVRecord(q, k, v, ScoreModifiers(64**-0.5, terms=(causal(n),))), 0)
    a.overview(64).sum()  # threads and kernels are there before the clock starts
    return lambda: a.overview(512)


def traced(n: int) -> Callable[[], Trace]:
    """What traces a text of n random tokens."""
    model, ids = attnviz.wrap(_model()), _ids(n)
    return lambda: model.trace(inputs={"input_ids": ids})


def _child(way: str, n: int) -> dict[str, float]:
    """One pass in a process of its own: its seconds, peak bytes over before, and bytes kept."""
    run: Callable[[], object]
    kept = 0
    if way == "overview":
        run = long_overview(n)
    else:
        module = _model("eager" if way == "eager" else "sdpa")
        model = attnviz.wrap(module)
        ids = _ids(n)
        # What is loaded at a first pass or a first trace is there before memory is looked at.
        model.trace(inputs={"input_ids": ids[:, :8]})
        config = module.config
        kept = 4 * n * config.n_embd * (3 * config.n_layer + config.n_layer + 1)

        def run() -> object:
            if way in ("plain", "eager"):
                with torch.no_grad():
                    return module(input_ids=ids, use_cache=False, output_attentions=way == "eager")
            return model.trace(inputs={"input_ids": ids}, keep=ALL if way == "all" else ALL[:2])

    _forget_peak()
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    peak = _peak() - before
    del result
    return {"seconds": seconds, "peak": peak, "kept": kept}


def _forget_peak() -> None:
    """Linux lets a process start its peak anew; elsewhere the peak includes loading."""
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def _peak() -> int:
    try:
        with open("/proc/self/status") as f:
            line = next(line for line in f if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(_child(sys.argv[1], int(sys.argv[2]))))
    else:
        show(TITLE, measure)
