"""Which axis of a residual stream is which: from a block's own layout to (B, n, d_model)."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedConfig

# Text models whose blocks take (n, B, d_model). Sizes tell that too, but not where n is B.
_POSITIONS_FIRST = frozenset({"xlnet", "fsmt"})


def to_batch_first(
    hidden: Tensor, batch: int | None, block: nn.Module, config: PreTrainedConfig
) -> Tensor | str:
    """What enters or leaves a block as (B, n, d_model), or one clause that says why it is not.

        to_batch_first(torch.zeros(12, 2, 32), 2, block, XLNetConfig()).shape   # (2, 12, 32)

    Args:
        hidden: of three or four dimensions, the features last, or of an image (B, d, h, w).
        batch: how many texts were read; None for what is not text, which has its items first.
        block: the module that takes it. config: the whole model's.
    """
    if batch is None:
        return _of_image(hidden, block) if hidden.ndim == 4 else _three(hidden)
    if hidden.ndim == 4:
        text = config.get_text_config()
        streams = getattr(text, "altup_num_inputs", None)
        if streams is None or len(hidden) != streams:  # (B, n, streams, d_model)
            return "its blocks carry several streams side by side, and none of them is the residual"
        hidden = hidden[text.altup_active_idx]  # (B, n, d_model) of (streams, B, n, d_model)
    if hidden.ndim != 3:
        return _three(hidden)
    first, second, _ = hidden.shape
    if second == batch and (first != batch or config.model_type in _POSITIONS_FIRST):
        return hidden.transpose(0, 1)  # (B, n, d_model)
    if first == batch:
        return hidden
    return f"its blocks take {tuple(hidden.shape)} for {batch} texts"


def _three(hidden: Tensor) -> Tensor | str:
    return hidden if hidden.ndim == 3 else f"its blocks take {hidden.ndim} dimensions"


def _of_image(hidden: Tensor, block: nn.Module) -> Tensor | str:
    """(B, h * w, d_model) of (B, h, w, d_model) or (B, d_model, h, w), told apart by the width of
    what the block multiplies. A stage that begins with a convolution changes its positions."""
    widths = [m.in_features for m in block.modules() if isinstance(m, nn.Linear)][:1]
    last, first = hidden.shape[-1] in widths, hidden.shape[1] in widths
    if last == first or any(isinstance(m, nn.Conv2d) for m in block.modules()):
        return "its blocks take feature maps, whose axes cannot be told apart"
    if first:
        return hidden.flatten(2).transpose(1, 2)  # (B, h * w, d_model)
    return hidden.flatten(1, 2)  # (B, h * w, d_model)
