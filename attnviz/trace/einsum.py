"""An einsum of two tensors, as a batched matrix product."""

from __future__ import annotations

from torch import Tensor


def _letters(equation: str, left: Tensor, right: Tensor) -> tuple[str, str, str]:
    """The axes of an einsum's operands and result; an ellipsis becomes capital letters."""
    terms, out = equation.replace(" ", "").split("->")
    a, b = terms.split(",")
    n_ellipsis = max(left.ndim - len(a) + 3, right.ndim - len(b) + 3) if "..." in terms else 0
    rest = "ABCDEFGH"[:n_ellipsis]
    return a.replace("...", rest), b.replace("...", rest), out.replace("...", rest)


def summed_axes(equation: str, left: Tensor, right: Tensor) -> tuple[int, ...]:
    """The axes of the left operand that an einsum sums over."""
    a, b, out = _letters(equation, left, right)
    return tuple(i for i, x in enumerate(a) if x in b and x not in out)


def as_matmul(
    equation: str, left: Tensor, right: Tensor, result: Tensor
) -> tuple[list[int], list[int], tuple[int, ...]] | None:
    """How an einsum is a batched matrix product; None if it isn't one.

    Returns:
        The axes of the left operand in the order (lead, n_q, n_k), those of the right one in the
        order (lead, n_k, d), and for each axis of the result its index in (lead, n_q, d).
    """
    a, b, out = _letters(equation, left, right)
    if len(a) != left.ndim or len(b) != right.ndim or len(out) != result.ndim:
        return None
    lead = [x for x in a if x in b and x in out]
    row = [x for x in a if x not in b and x in out]
    key = [x for x in a if x in b and x not in out]
    column = [x for x in b if x not in a and x in out]
    if not (len(row) == len(key) == len(column) == 1) or len(out) != len(lead) + 2:
        return None
    product = [*lead, *row, *column]
    return (
        [a.index(x) for x in [*lead, *row, *key]],
        [b.index(x) for x in [*lead, *key, *column]],
        tuple(product.index(x) for x in out),
    )
