"""The input of each block, unchanged: some models add to the stream in place.

The first input of each block class is copied. If nothing has written to the original by the time of
the next one, that and later inputs are kept without a copy, since copies would add to a forward
pass's peak memory. torch counts the writes to a tensor, so at the end we know whether that was
right.
"""

from __future__ import annotations

from torch import Tensor, nn


class BlockInputs:
    """The inputs of one forward pass, or of the passes of a generation."""

    def __init__(self) -> None:
        self._originals: dict[type[nn.Module], tuple[Tensor, int]] = {}  # and their write counts
        self._unwritten: dict[type[nn.Module], bool] = {}  # whether the class leaves inputs alone
        self._kept: list[tuple[Tensor, int]] = []  # without a copy, and their write counts

    def capture(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """The block's input, as a copy or as the tensor itself."""
        hidden = hidden.detach()
        block_class = type(block)
        if hidden.is_inference():  # writes are not counted
            return hidden.clone()
        if block_class in self._originals:
            original, writes = self._originals.pop(block_class)
            self._unwritten[block_class] = original._version == writes
        is_view = hidden.untyped_storage().nbytes() > hidden.nbytes
        if not self._unwritten.get(block_class) or is_view:
            if block_class not in self._unwritten:
                self._originals[block_class] = hidden, hidden._version
            return hidden.clone()
        self._kept.append((hidden, hidden._version))
        return hidden

    def overwritten(self) -> bool:
        """Whether an input that was kept without a copy was written to later."""
        return any(tensor._version != writes for tensor, writes in self._kept)
