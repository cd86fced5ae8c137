"""attnviz: look at self-attention with the real numbers.

import attnviz
model = attnviz.load("smollm2-135m")
trace = model.trace("The capital of France is")
trace.attention(layer=3, head=5).weights()
attnviz.page(trace, "trace.html")              # all of it, for a browser without a server
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnviz import display
from attnviz.errors import AttnVizError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from attnviz.canvas.notebook import Frame
    from attnviz.trace import AttentionMap, Model, Trace
    from attnviz.trace.metric import (
        Metric,
        kl,
        log_probability,
        logit_difference,
        probability,
        rank,
    )

__all__ = [
    "AttnVizError",
    "Metric",
    "__version__",
    "kl",
    "load",
    "log_probability",
    "logit_difference",
    "page",
    "probability",
    "rank",
    "show_heads",
    "wrap",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The metrics, which need torch, and ``import attnviz`` does not."""
    if name not in __all__:
        raise AttributeError(f"module 'attnviz' has no attribute {name!r}")
    from attnviz.trace import metric

    return getattr(metric, name)


def load(
    name: str, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> Model:
    """Loads a model: a catalog name, a hub id, a folder, or a .gguf file.

    Args:
        name: e.g. "smollm2-135m", "openai-community/gpt2", "./my-model", "model.gguf".
        device: "auto" (cuda, then mps, then cpu) or one of them.
        dtype: "auto" or "float32", "bfloat16", "float16", "float64".
        revision: a hub revision.

    Raises:
        AttnVizError: no such model, or one that cannot or must not be loaded.
    """
    from attnviz.models.loader import load as find
    from attnviz.trace import Model

    return Model(find(name, device=device, dtype=dtype, revision=revision))


def wrap(
    hf_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: Any | None = None,
) -> Model:
    """Any transformers model that is already in memory. It is not changed, now or later."""
    from attnviz.models.loaded_model import wrap_module
    from attnviz.trace import Model

    return Model(wrap_module(hf_model, tokenizer, processor))


def page(trace: Trace, path: str | Path, **options: Any) -> Path:
    """Writes a whole trace as one HTML file that opens offline, with no server and no model.

    It holds Q, K, V and the score modifiers of every layer, and computes any head's weights,
    scores, output and lines in the reader's browser.

    Args:
        options: of `attnviz.canvas.page.page_html`: ``title``, ``storage``, ``theme``, ``image``,
            ``selected``, ``item``.

    Returns:
        The file's path.
    """
    from attnviz.canvas.page import write_page

    return write_page(trace, path, **options)


def show_heads(trace: Trace, **options: Any) -> Frame:
    """Every head of a trace as a thumbnail, for a notebook.

    Args:
        options: ``height`` in px, ``item``.
    """
    from attnviz.canvas import notebook

    return notebook.show_heads(trace, **options)


def _show(shown: Trace | AttentionMap, **options: Any) -> Frame:
    from attnviz.canvas import notebook

    return notebook.show(shown, **options)


display.register(_show)
