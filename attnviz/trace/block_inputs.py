"""What entered each block, as it was then: some models add to the stream in place.

The first input of a kind of block is copied. If nothing has written to the original by the time
that the next one comes, that and later ones are kept as they are: a copy beside the model's own
would be there when a forward pass needs most memory. torch counts what is written to a tensor,
so that it can be seen in the end whether it was right.
"""

from __future__ import annotations

from torch import Tensor, nn


class BlockInputs:
    """The inputs of one forward pass, or of the passes of a generation."""

    def __init__(self) -> None:
        self._seen: dict[type[nn.Module], tuple[Tensor, int]] = {}  # originals, and writes so far
        self._calm: dict[type[nn.Module], bool] = {}
        self._kept: list[tuple[Tensor, int]] = []

    def taken(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """The block's input, of which nobody else has a use after the pass."""
        hidden = hidden.detach()
        kind = type(block)
        if hidden.is_inference():  # writes are not counted
            return hidden.clone()
        if kind in self._seen:
            before, writes = self._seen.pop(kind)
            self._calm[kind] = before._version == writes
        if not self._calm.get(kind) or hidden.untyped_storage().nbytes() > hidden.nbytes:
            if kind not in self._calm:
                self._seen[kind] = hidden, hidden._version
            return hidden.clone()
        self._kept.append((hidden, hidden._version))
        return hidden

    def overwritten(self) -> bool:
        """Whether an input that was kept as it is has been written to since."""
        return any(tensor._version != writes for tensor, writes in self._kept)
