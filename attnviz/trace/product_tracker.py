"""Following what a module computes to where the module hands it on.

A softmax times something need not be the layer's attention (a pseudo-inverse is full of such
products). It is if its result becomes the layer's output: if, after transposes, reshapes and
additions, all its heads lie side by side where a projection takes them. The numbers found there are
what a map must explain, and the way there tells which matrices are heads of the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Operations that hand on the same numbers in another type.
CAST = {
    torch.Tensor.to, torch.Tensor.type, torch.Tensor.type_as, torch.Tensor.float,
    torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.double, F.dropout, torch.dropout,
}  # fmt: skip
# Operations that hand on the same numbers in another shape.
RESHAPE = {
    torch.Tensor.contiguous, torch.Tensor.clone, torch.Tensor.view, torch.Tensor.view_as,
    torch.Tensor.reshape, torch.Tensor.transpose, torch.Tensor.permute, torch.Tensor.unsqueeze,
    torch.Tensor.squeeze, torch.Tensor.flatten, torch.Tensor.unflatten, torch.Tensor.swapaxes,
    torch.Tensor.__getitem__, torch.transpose, torch.permute, torch.reshape, torch.squeeze,
    torch.unsqueeze, torch.flatten, torch.swapaxes,
}  # fmt: skip
# Operations that put other numbers beside them.
JOIN = {torch.cat, torch.concat, F.pad}
ADD = {
    torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__, torch.Tensor.add_,
    torch.Tensor.__iadd__,
}  # fmt: skip
# Operations that take a layer's whole output: projections, and what may come before one.
TAKE = {
    F.linear, torch.addmm, F.conv1d, F.conv2d, F.layer_norm, F.rms_norm, F.hardswish, F.gelu,
    F.relu, F.silu,
}  # fmt: skip

# Places followed at once; a layer needs a handful.
_MOST = 32


@dataclass(eq=False)
class Product:
    """What is followed: a result of shape (..., n, d), one (n, d) matrix a head.

    Attributes:
        shape: (..., n, d). arrived: is called with the heads and the output once it is handed on:
            (items, H), which of the matrices are heads of the same rows; (matrices, n, d), what was
            handed on of them; and how far apart neighboring numbers lie in what was handed on, if
            anything was added to them (else 0).
    """

    shape: tuple[int, ...]
    arrived: Callable[[Tensor, Tensor, float], None]


@dataclass(eq=False)
class _Tracked:
    """Where a product is now.

    Attributes:
        index: same shape as tensor: which number of the product each is, -1 for others.
        added: same shape: what was added to them on the way; None for nothing.
    """

    product: Product
    tensor: Tensor
    index: Tensor
    added: Tensor | None


class ProductTracker:
    """The products that are on their way."""

    def __init__(self) -> None:
        self._places: list[_Tracked] = []

    def __bool__(self) -> bool:
        return bool(self._places)

    def clear(self) -> None:
        """Follows nothing any more."""
        self._places.clear()

    def follow(
        self, product: Product, tensor: Tensor, order: tuple[int, ...] | None = None
    ) -> None:
        """Begins to follow.

        Args:
            tensor: the product as it was computed. order: its axes as axes of ``product.shape``.
        """
        index = torch.arange(tensor.numel(), device=tensor.device).view(product.shape)
        self._put(product, tensor, index if order is None else index.permute(order), None)

    def step(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Goes along with an operation that was called with these arguments."""
        if not isinstance(result, Tensor):
            return
        if func in JOIN:
            self._join(func, args, kwargs, result)
            return
        found = [(i, p) for i, a in enumerate(args[:2]) for p in [self._at(a)] if p is not None]
        if func in ADD:
            self._add(func, args, kwargs, result, found)
        elif found and found[0][0] == 0:
            place = found[0][1]
            rest = args[1:]
            index, added = place.index, place.added
            if func in RESHAPE:
                index = func(index, *rest, **kwargs)
            if added is not None and func not in (F.dropout, torch.dropout):
                added = func(added, *rest, **kwargs)
            self._put(place.product, result, index, added)

    def _join(self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor) -> None:
        """Other numbers come beside them: their index is -1."""
        if func is F.pad:
            place = self._at(args[0])
            if place is not None and kwargs.get("mode", "constant") == "constant":
                sides = args[1] if len(args) > 1 else kwargs["pad"]
                added = None if place.added is None else F.pad(place.added, sides)
                self._put(place.product, result, F.pad(place.index, sides, value=-1), added)
            return
        parts = args[0] if args else kwargs.get("tensors", ())
        places = [self._at(part) for part in parts]
        found = [p for p in places if p is not None]
        if len({p.product for p in found}) != 1:
            return
        rest = {"dim": args[1] if len(args) > 1 else kwargs.get("dim", 0)}
        pairs = list(zip(parts, places, strict=True))
        index = [
            torch.full_like(t, -1, dtype=torch.long) if p is None else p.index for t, p in pairs
        ]
        added = None
        if any(p.added is not None for p in found):
            zeros = [torch.zeros_like(t) for t in parts]
            added = torch.cat(
                [
                    z if p is None or p.added is None else p.added
                    for z, p in zip(zeros, places, strict=True)
                ],
                **rest,
            )
        self._put(found[0].product, result, torch.cat(index, **rest), added)

    def _add(
        self, func: Any, args: Any, kwargs: dict[str, Any], result: Tensor,
        found: list[tuple[int, _Tracked]],
    ) -> None:  # fmt: skip
        """Something else is added, which is no part of the product; it is kept apart."""
        if len(found) == 2:  # a sum of two products is the output of neither
            self._places = [p for p in self._places if p not in [place for _, place in found]]
        if len(found) != 1:
            return
        at, place = found[0]
        if place.tensor.shape != result.shape:
            return
        zero = torch.zeros_like(result) if place.added is None else place.added.clone()
        added = func(*args[:at], zero, *args[at + 1 :], **kwargs)
        self._put(place.product, result, place.index, added)

    def take(self, tensor: Any, channels: tuple[int, ...] = (-1,)) -> bool:
        """A projection takes a tensor: if that is a product with its heads side by side, it has
        arrived.

        Args:
            channels: the axes that the projection sums over.
        """
        place = self._at(tensor)
        if place is None:
            return False
        *lead, n, d = place.product.shape
        last = tuple(range(-len(channels), 0))
        flat = place.index.movedim(channels, last).flatten(-len(channels))
        groups = _heads(flat.flatten(0, -2), n, d, lead)  # (items, H)
        known = place.index >= 0
        if groups is None or int(known.sum()) != groups.numel() * n * d:  # some rows were cut off
            return False
        self._places = [p for p in self._places if p.product is not place.product]
        wide = place.tensor if place.added is None else place.tensor.float() - place.added.float()
        own = torch.empty(groups.numel() * n * d, dtype=tensor.dtype, device=tensor.device)
        own[place.index[known].to(own.device)] = wide.detach()[known].to(own.dtype)
        spacing = 0.0
        if place.added is not None:
            spacing = float(torch.finfo(own.dtype).eps * tensor.abs().max())
        place.product.arrived(groups, own.view(-1, n, d), spacing)
        return True

    def _at(self, tensor: Any) -> _Tracked | None:
        return next((p for p in reversed(self._places) if p.tensor is tensor), None)

    def _put(self, product: Product, tensor: Tensor, index: Tensor, added: Tensor | None) -> None:
        self._places = [p for p in self._places if p.tensor is not tensor][1 - _MOST :]
        self._places.append(_Tracked(product, tensor, index, added))


def _heads(index: Tensor, n: int, d: int, lead: list[int]) -> Tensor | None:
    """Which matrices of a product lie side by side: (items, H), or None if none do as a whole.

    Args:
        index: (positions, channels) numbers of a product of (n, d) matrices, -1 for others.
        lead: the axes of the product before n and d.
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
    """(items, H, rows, columns): of (..., rows, columns), the matrices that ``groups`` name."""
    flat = t.reshape(-1, *t.shape[-2:])
    items, H = groups.shape
    count = torch.arange(items * H, device=groups.device)
    if torch.equal(groups.flatten(), count):  # no copy
        return flat.view(items, H, *t.shape[-2:])
    return flat[groups.flatten().to(t.device)].view(items, H, *t.shape[-2:])
