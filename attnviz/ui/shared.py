"""The executors and caches that every session of the server process shares.

Models and traces in them are read-only: many sessions use one model and one trace at once.
"""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from attnviz.models import limits
from attnviz.ui import memory
from attnviz.ui.executor import Executor
from attnviz.ui.lru_cache import LRUCache

MAX_MODELS = 3  # whole models in memory at once


class Shared(NamedTuple):
    """The executors and caches.

    Attributes:
        work: runs what takes long: loading, forward passes, all heads at once.
        views: runs what one view needs, so that no view waits for another's forward pass.
        models: loaded models. values: everything computed with them.
    """

    work: Executor
    views: Executor
    models: LRUCache
    values: LRUCache


@st.cache_resource(show_spinner=False)
def shared() -> Shared:
    models = LRUCache(max_entries=MAX_MODELS, on_drop=memory.collect_and_trim)
    values = LRUCache(memory.budget, on_drop=memory.trim)
    limits.memory_releasers[:] = [values.free, models.free]  # the cheapest to recompute first
    return Shared(
        work=Executor(on_idle=memory.trim, name="model-work"),
        views=Executor(on_idle=memory.trim, name="views"),
        models=models,
        values=values,
    )
