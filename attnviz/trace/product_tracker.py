"""Tracking the product of weights and values until the module uses it as its output.

A softmax times a tensor need not be the layer's attention: computing a pseudo-inverse takes many
such products. It is attention if its result becomes the layer's output: if, after transposes,
reshapes and additions, all its heads are side by side in the input of a projection. The numbers
there are what a record must reproduce, and their order shows which matrices are heads of the same
rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Operations that return the same numbers in another dtype.
CAST = {
    torch.Tensor.to, torch.Tensor.type, torch.Tensor.type_as, torch.Tensor.float,
    torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.double, F.dropout, torch.dropout,
}  # fmt: skip
# Operations that return the same numbers in another shape.
RESHAPE = {
    torch.Tensor.contiguous, torch.Tensor.clone, torch.Tensor.view, torch.Tensor.view_as,
    torch.Tensor.reshape, torch.Tensor.transpose, torch.Tensor.permute, torch.Tensor.unsqueeze,
    torch.Tensor.squeeze, torch.Tensor.flatten, torch.Tensor.unflatten, torch.Tensor.swapaxes,
    torch.Tensor.__getitem__, torch.transpose, torch.permute, torch.reshape, torch.squeeze,
    torch.unsqueeze, torch.flatten, torch.swapaxes,
}  # fmt: skip
# Operations that concatenate other numbers.
JOIN = {torch.cat, torch.concat, F.pad}
ADD = {
    torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__, torch.Tensor.add_,
    torch.Tensor.__iadd__,
}  # fmt: skip
# Operations that consume a layer's whole output: projections, and what may come before one.
CONSUME = {
    F.linear, torch.addmm, F.conv1d, F.conv2d, F.layer_norm, F.rms_norm, F.hardswish, F.gelu,
    F.relu, F.silu,
}  # fmt: skip

# The most tensors tracked at once; a layer needs a few.
_MAX_TRACKED = 32


@dataclass(eq=False)
class Product:
    """A product of weights and values: shape (..., n, d), one (n, d) matrix per head.

    Attributes:
        shape: (..., n, d).
        on_output: called once the product is used as the module's output, with (items, H), which
            matrices are heads of the same rows; (matrices, n, d), the output; and, if anything was
            added to it, the spacing of floating-point numbers at its magnitude (else 0).
    """

    shape: tuple[int, ...]
    on_output: Callable[[Tensor, Tensor, float], None]


@dataclass(eq=False)
class _Tracked:
    """A tensor that contains a product.

    Attributes:
        index: shape of ``tensor``: the index of each number in the product, -1 for others.
        added: shape of ``tensor``: what was added to each number; None if nothing was.
    """

    product: Product
    tensor: Tensor
    index: Tensor
    added: Tensor | None


class ProductTracker:
    """Tracks products through the operations that move them."""

    def __init__(self) -> None:
        self._tracked: list[_Tracked] = []

    def __bool__(self) -> bool:
        return bool(self._tracked)

    def clear(self) -> None:
        """Stops tracking everything."""
        self._tracked.clear()

    def track(self, product: Product, tensor: Tensor, order: tuple[int, ...] | None = None) -> None:
        """Starts to track a product.

        Args:
            tensor: the product as it was computed. order: for each of its axes the index in
                ``product.shape``; by default the same order.
        """
        index = torch.arange(tensor.numel(), device=tensor.device).view(product.shape)
        self._put(product, tensor, index if order is None else index.permute(order), None)

    def step(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Updates what is tracked for an operation that was called with these arguments."""
        if not isinstance(result, Tensor):
            return
        if func in JOIN:
            self._join(func, args, kwargs, result)
            return
        found = [(i, p) for i, a in enumerate(args[:2]) for p in [self._find(a)] if p is not None]
        if func in ADD:
            self._add(func, args, kwargs, result, found)
        elif found and found[0][0] == 0:
            tracked = found[0][1]
            rest = args[1:]
            index, added = tracked.index, tracked.added
            if func in RESHAPE:
                index = func(index, *rest, **kwargs)
            if added is not None and func not in (F.dropout, torch.dropout):
                added = func(added, *rest, **kwargs)
            self._put(tracked.product, result, index, added)

    def _join(self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor) -> None:
        """Concatenates or pads: the index of the other numbers is -1."""
        if func is F.pad:
            tracked = self._find(args[0])
            if tracked is not None and kwargs.get("mode", "constant") == "constant":
                sides = args[1] if len(args) > 1 else kwargs["pad"]
                added = None if tracked.added is None else F.pad(tracked.added, sides)
                self._put(tracked.product, result, F.pad(tracked.index, sides, value=-1), added)
            return
        parts = args[0] if args else kwargs.get("tensors", ())
        tracked_parts = [self._find(part) for part in parts]
        found = [p for p in tracked_parts if p is not None]
        if len({p.product for p in found}) != 1:
            return
        rest = {"dim": args[1] if len(args) > 1 else kwargs.get("dim", 0)}
        pairs = list(zip(parts, tracked_parts, strict=True))
        index = [
            torch.full_like(t, -1, dtype=torch.long) if p is None else p.index for t, p in pairs
        ]
        added = None
        if any(p.added is not None for p in found):
            zeros = [torch.zeros_like(t) for t in parts]
            added = torch.cat(
                [
                    z if p is None or p.added is None else p.added
                    for z, p in zip(zeros, tracked_parts, strict=True)
                ],
                **rest,
            )
        self._put(found[0].product, result, torch.cat(index, **rest), added)

    def _add(
        self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor,
        found: list[tuple[int, _Tracked]],
    ) -> None:  # fmt: skip
        """Notes what is added to a product, to subtract it later."""
        if len(found) == 2:  # a sum of two products is the output of neither
            self._tracked = [p for p in self._tracked if p not in [t for _, t in found]]
        if len(found) != 1:
            return
        at, tracked = found[0]
        if tracked.tensor.shape != result.shape:
            return
        before = torch.zeros_like(result) if tracked.added is None else tracked.added.clone()
        added = func(*args[:at], before, *args[at + 1 :], **kwargs)
        self._put(tracked.product, result, tracked.index, added)

    def consume(self, tensor: Any, channels: tuple[int, ...] = (-1,)) -> bool:
        """A projection consumes a tensor. If it is a product with its heads side by side, it is the
        module's output.

        Args:
            channels: the axes that the projection sums over.
        """
        tracked = self._find(tensor)
        if tracked is None:
            return False
        product, index = tracked.product, tracked.index
        *lead, n, d = product.shape
        last = tuple(range(-len(channels), 0))
        flat = index.movedim(channels, last).flatten(-len(channels))
        groups = _heads(flat.flatten(0, -2), n, d, lead)  # (items, H)
        known = index >= 0
        if groups is None or int(known.sum()) != groups.numel() * n * d:  # some rows were cut off
            return False
        self._tracked = [t for t in self._tracked if t.product is not product]
        numbers = tracked.tensor
        if tracked.added is not None:
            numbers = numbers.float() - tracked.added.float()
        own = torch.empty(groups.numel() * n * d, dtype=tensor.dtype, device=tensor.device)
        own[index[known].to(own.device)] = numbers.detach()[known].to(own.dtype)
        spacing = 0.0
        if tracked.added is not None:
            spacing = float(torch.finfo(own.dtype).eps * tensor.abs().max())
        product.on_output(groups, own.view(-1, n, d), spacing)
        return True

    def _find(self, tensor: Any) -> _Tracked | None:
        return next((p for p in reversed(self._tracked) if p.tensor is tensor), None)

    def _put(self, product: Product, tensor: Tensor, index: Tensor, added: Tensor | None) -> None:
        self._tracked = [p for p in self._tracked if p.tensor is not tensor][1 - _MAX_TRACKED :]
        self._tracked.append(_Tracked(product, tensor, index, added))


def _heads(index: Tensor, n: int, d: int, lead: list[int]) -> Tensor | None:
    """(items, H): which matrices of a product are side by side; None if they aren't all complete.

    Args:
        index: (positions, channels) indices into a product of (n, d) matrices, -1 for others.
        lead: the product's shape before n and d.
    """
    if index.shape[-1] % d:
        return None
    index = index[(index >= 0).any(-1)]
    if not len(index):
        return None
    chunks = index.unflatten(-1, (-1, d))  # (positions, H and others, d)
    chunks = chunks[:, chunks[0, :, 0] >= 0]  # (positions, H, d)
    first = chunks[..., :1]
    if (first < 0).any() or (first % d).any():
        return None
    if not torch.equal(chunks, first + torch.arange(d, device=index.device)):
        return None
    matrix, row = first[..., 0] // (n * d), first[..., 0] // d % n  # (positions, H)
    if not torch.equal(row, row[:, :1].expand_as(row)):
        return None
    groups = torch.unique(matrix, dim=0)  # (items, H)
    count = 1
    for size in lead:
        count *= size
    if not torch.equal(groups.flatten().sort().values, torch.arange(count, device=index.device)):
        return None
    one_head_of_many = groups.shape[1] == 1 and len(lead) > 1 and lead[1] > 1
    return None if one_head_of_many else groups


def by_head(t: Tensor, groups: Tensor) -> Tensor:
    """(items, H, rows, columns): matrices of (..., rows, columns), ordered by ``groups``."""
    flat = t.reshape(-1, *t.shape[-2:])
    items, H = groups.shape
    count = torch.arange(items * H, device=groups.device)
    if torch.equal(groups.flatten(), count):  # no copy
        return flat.view(items, H, *t.shape[-2:])
    return flat[groups.flatten().to(t.device)].view(items, H, *t.shape[-2:])
