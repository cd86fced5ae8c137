"""Which model a trace is of, and what is held of models that were looked at before."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from attnviz.errors import AttnVizError
from attnviz.models import limits
from attnviz.trace.records import QKVRecord
from attnviz.trace.requests import ModelChoice, TraceRequest
from attnviz.ui import memory, model_loading, tracing
from attnviz.ui.explore import head_view
from attnviz.ui.shared import MAX_MODELS, shared
from attnviz.ui.trace_cache import cached
from attnviz.ui.waiting import no_report
from tests.app import folders

ROOT = Path(__file__).parent.parent.parent
CAT = TraceRequest("the cat sat on a mat")
BUILDERS = (folders.masked, folders.one_head, folders.encoder_decoder)


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    shared.clear()
    yield
    shared.clear()


def of(path: Path) -> ModelChoice:
    return ModelChoice(str(path), "cpu")


def other_weights(path: Path, target: Path) -> Path:
    """The same model with other weights, in files of the same names and sizes."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(path, target)
    tensors = {name: t + 0.5 for name, t in load_file(path / "model.safetensors").items()}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_kept_model_that_is_replaced_under_its_name_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNVIZ_MODELS", str(tmp_path / "kept"))
    kept = folders.one_head(tmp_path / "kept" / "mine")
    choice = ModelChoice("mine", "cpu")
    before = tracing.trace(choice, CAT, no_report)
    assert tracing.trace(choice, CAT, no_report) is before
    replacement = other_weights(kept, tmp_path / "new")
    shutil.rmtree(kept)
    replacement.rename(kept)
    after = tracing.trace(choice, CAT, no_report)
    fresh = tracing.trace(of(kept), CAT, no_report)
    assert not torch.equal(after.logits, before.logits)
    assert fresh is after  # one content, one key, whatever it is called
    assert len(shared().models) == 2  # the old one is not held beside it


def test_a_folder_that_changes_between_load_and_trace_keeps_the_keys_apart(tmp_path: Path) -> None:
    folder = folders.one_head(tmp_path / "m")
    new = other_weights(folder, tmp_path / "new")
    model = model_loading.load(of(folder), no_report)
    old = tracing.trace(of(folder), CAT, no_report)
    shutil.copy(new / "model.safetensors", folder / "model.safetensors")
    # what was loaded before still is what it was, and is known as that
    made = model.trace(CAT.text, keep=("qkv", "residual", "output", "logits"))
    assert torch.equal(made.logits, old.logits)
    changed = tracing.trace(of(folder), CAT, no_report)
    assert not torch.equal(changed.logits, old.logits)
    assert model_loading.identity(
        model_loading.load(of(folder), no_report)
    ) != model_loading.identity(model)


def test_the_same_content_in_another_precision_is_another_model(tmp_path: Path) -> None:
    folder = folders.one_head(tmp_path / "m")
    single = model_loading.load(ModelChoice(str(folder), "cpu", "float32"), no_report)
    double = model_loading.load(ModelChoice(str(folder), "cpu", "float64"), no_report)
    assert single.loaded.revision == double.loaded.revision
    assert model_loading.identity(single) != model_loading.identity(double)


def test_dropped_models_are_freed_while_their_traces_are_in_use(
    tmp_path: Path,
) -> None:
    choices = [of(build(tmp_path / build.__name__)) for build in BUILDERS]
    first = of(folders.one_head(tmp_path / "first"))
    trace = tracing.trace(first, CAT, no_report)
    module = weakref.ref(model_loading.load(first, no_report).module)
    weights = trace.attention(0, 0).weights()
    assert len(choices) == MAX_MODELS
    for choice in choices:
        model_loading.load(choice, no_report)
    gc.unfreeze()
    gc.collect()
    assert module() is None
    assert trace is shared().values.get(("trace", *_identity(first), CAT))
    assert torch.equal(trace.attention(0, 0).weights(), weights)


def _identity(choice: ModelChoice) -> tuple[object, ...]:
    return model_loading.identity(model_loading.load(choice, no_report))


def test_a_receipt_of_all_rows_though_the_model_was_loaded_anew(tmp_path: Path) -> None:
    long = TraceRequest(" ".join(folders.WORDS * 20))
    folder = folders.encoder_decoder(tmp_path / "first")
    trace = tracing.trace(of(folder), long, no_report)
    part = trace.fidelity(0, rows="recorded")
    assert part.rows < part.total_rows
    for build in BUILDERS:
        model_loading.load(of(build(tmp_path / f"other-{build.__name__}")), no_report)
    gc.unfreeze()
    gc.collect()
    assert trace.fidelity(0).rows == part.rows  # the model that made it has gone
    found = tracing.fidelity(of(folder), long, trace, 0, no_report)
    assert (found.rows, found.passed) == (part.total_rows, True)
    assert tracing.fidelity(of(folder), long, trace, 0, no_report) is found


def test_cached_values_make_way_before_a_model_is_refused_for_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders.one_head(tmp_path / "m")
    tracing.trace(of(folder), CAT, no_report)
    values = shared().values
    assert values.nbytes > 0
    # as if all that is held were all that there is
    monkeypatch.setattr(limits, "available_memory", lambda device=None: limits.GIB - values.nbytes)
    limits.require_memory(int((limits.GIB - limits.HEADROOM) / limits.MARGIN), "It")
    assert values.nbytes == 0
    with pytest.raises(AttnVizError, match="is free"):
        limits.require_memory(limits.GIB, "It")


def test_the_budget_follows_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [0]
    monkeypatch.setattr(limits, "available_memory", lambda device=None: free[0])
    budgets = []
    for mebibytes in (10, 600, 1200, 100_000):
        free[0] = mebibytes << 20
        budgets.append(memory.budget(cached=0))
    assert budgets[0] == memory.MIN_BUDGET
    assert budgets[0] < budgets[1] < budgets[2] < budgets[3] == memory.MAX_BUDGET
    # what is held already does not shrink it
    free[0] = 1000 << 20
    assert memory.budget(cached=200 << 20) == (1200 << 20) // memory.SHARE


@pytest.mark.skipif(memory._malloc_trim() is None, reason="this C library keeps nothing back")
def test_freed_memory_is_returned_to_the_system() -> None:
    """Blocks too small for a mapping of their own, under one that is still in use."""
    import psutil

    process = psutil.Process()
    blocks = [os.urandom(100_000) for _ in range(3000)]  # 300 MB
    last = os.urandom(100_000)
    full = process.memory_info().rss
    del blocks
    memory.trim()
    assert full - process.memory_info().rss > 250_000_000
    assert len(last) == 100_000


def test_an_open_page_keeps_no_trace_alive() -> None:
    """What its callbacks and fragments refer to is neither counted nor dropped by the cache."""
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    app.run()
    app.query_params["text"], app.query_params["pins"] = "The capital of France is", "0.0"
    app.switch_page("pages/explore.py").run()
    assert not app.exception
    values = shared().values
    (trace,) = [weakref.ref(cached(key)) for key in values if len(key) == 5]
    assert len(trace().layers) == 30
    values.free(1 << 40)
    gc.unfreeze()
    gc.collect()
    assert trace() is None
    app.slider(key="head").set_value(3).run()  # made again
    assert not app.exception
    assert not app.error


def test_a_page_computes_nothing_with_a_model_on_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In any view: each script thread would take memory of its own for it, which is
    never given back, and as many would compete for the cores as there are people."""
    names: set[str] = set()
    original = QKVRecord.scores

    def noted(self: QKVRecord, *args: Any) -> torch.Tensor:
        names.add(threading.current_thread().name)
        return original(self, *args)

    monkeypatch.setattr(QKVRecord, "scores", noted)
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    app.run()
    app.query_params["text"], app.query_params["pins"] = "The capital of France is", "0.0"
    app.query_params["at"] = "2"
    app.switch_page("pages/explore.py").run()
    for view in head_view.VIEWS:
        app.segmented_control(key="show").set_value(view).run()
        assert not app.exception
        assert not app.error
    assert {"model-work-0", "views-0"} <= names
    # all heads of a long text are read on threads of their own, for the worker that waits for them
    assert not [n for n in names if not n.startswith(("model-work", "views", "heads"))]
