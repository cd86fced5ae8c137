"""The executors and caches that every session of the server process shares.

Models and traces in them are read-only: many people look at one model and one trace at once.
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
    """What the whole server process shares.

    Attributes:
        work: for what takes long: loading, forward passes, all heads at once.
        views: for what one look needs, so that a look waits for nobody's forward pass.
        models: whole models. values: all that was computed with them.
    """

    work: Executor
    views: Executor
    models: LRUCache
    values: LRUCache


@st.cache_resource
def shared() -> Shared:
    models = LRUCache(max_entries=MAX_MODELS, on_drop=memory.tidy)
    values = LRUCache(memory.budget, on_drop=memory.give_back)
    limits.memory_releasers[:] = [values.free, models.free]  # the cheapest to make again first
    return Shared(
        work=Executor(on_idle=memory.give_back, name="model-work"),
        views=Executor(on_idle=memory.give_back, name="views"),
        models=models,
        values=values,
    )
