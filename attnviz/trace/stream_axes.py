"""The axes of a residual stream: from a block's own layout to (B, n, d_model)."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedConfig

# Text models whose blocks take (n, B, d_model). The sizes show that too, unless n equals B.
_POSITIONS_FIRST = frozenset({"xlnet", "fsmt"})


def to_batch_first(
    hidden: Tensor, batch: int | None, block: nn.Module, config: PreTrainedConfig
) -> Tensor | str:
    """A block's input or output as (B, n, d_model), or a clause that says why that is impossible.

        to_batch_first(torch.zeros(12, 2, 32), 2, block, XLNetConfig()).shape   # (2, 12, 32)

    Args:
        hidden: three or four dimensions, features last, or (B, d, h, w) for an image.
        batch: how many texts were given; None for anything but text, which has its batch first.
        block: the module it belongs to. config: the whole model's.
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
    """(B, h * w, d_model) from (B, h, w, d_model) or (B, d_model, h, w).

    The width of the block's first projection tells which. A stage that begins with a convolution
    changes its positions, so its input is refused.
    """
    widths = [m.in_features for m in block.modules() if isinstance(m, nn.Linear)][:1]
    last, first = hidden.shape[-1] in widths, hidden.shape[1] in widths
    if last == first or any(isinstance(m, nn.Conv2d) for m in block.modules()):
        return "its blocks take feature maps, whose axes cannot be told apart"
    if first:
        return hidden.flatten(2).transpose(1, 2)  # (B, h * w, d_model)
    return hidden.flatten(1, 2)  # (B, h * w, d_model)
