"""How one head's vectors were made: which columns of which projection, and what was done to them.

Models name and lay out their projections in many ways: one matrix for Q, K and V or three, heads
one after the other or interleaved. So nothing here goes by a name. What a projection gave is
searched for the head's own vectors; what was done to them on the way (RoPE, QK-norm, a scale) is
undone first. What isn't found is an error, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnviz.trace.block_run import ModuleRun

Angles = tuple[Tensor, Tensor]  # RoPE's cosines and sines, (n, rotated dimensions) each

ROTATIONS = ("half", "pairs", "half once", "pairs once", "pairs repeated")

_NORM = re.compile("norm|^ln", re.IGNORECASE)


@dataclass(frozen=True)
class Projection:
    """One head's part of a linear map.

    Attributes:
        given: (n, d_model) what it was applied to. weight: (d_model, d). bias: (d,), or None.
    """

    given: Tensor
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(n, d) the head's vectors."""
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


@dataclass(frozen=True)
class VectorSource:
    """Where a head's queries, keys or values come from.

    Attributes:
        projection: the linear map. norm: the QK-norm; None without one.
        rotation: RoPE's form, see ``rotated``, or "". multiplier: a factor that was applied last.
    """

    projection: Projection
    norm: nn.Module | None = None
    rotation: str = ""
    multiplier: float = 1.0


def source_of(
    vectors: Tensor, runs: Sequence[ModuleRun], item: int, angles: Angles | None, tolerance: float
) -> VectorSource | None:
    """Where a head's (n, d) vectors come from; None if that can't be followed.

    Args:
        runs: of the modules of the block. item: which text of the batch.
        angles: of RoPE, if the layer was given any.
        tolerance: rounding, relative to the vectors' size.
    """
    for multiplier in (1.0, vectors.shape[1] ** -0.5):  # some scale their queries here
        for rotation in ("", *ROTATIONS) if angles is not None else ("",):
            plain = vectors / multiplier
            if rotation and angles is not None:
                if angles[0].shape[1] * (1 + ("once" in rotation)) > vectors.shape[1]:
                    continue
                plain = rotated(plain, angles, rotation, back=True)
            found = _projected(plain, runs, item, tolerance)
            if found is not None:
                return VectorSource(found, None, rotation, multiplier)
            for run in runs:
                before = _before_norm(plain, run, item, tolerance)
                found = None if before is None else _projected(before, runs, item, tolerance)
                if found is not None:
                    return VectorSource(found, run.module, rotation, multiplier)
    return None


def output_projection(
    outputs: Tensor, runs: Sequence[ModuleRun], item: int, tolerance: float
) -> tuple[Tensor, ModuleRun] | None:
    """(d_v, d_model) the rows of W_O that read a head's (n, d_v) outputs, and the run of W_O."""
    for run in runs:
        if not is_linear(run.module) or not run.given:
            continue
        for given in token_rows(run.given[0], item):
            at = _columns(outputs, given, tolerance)
            if at is not None:
                return _matrix(run.module)[at : at + outputs.shape[1]].clone(), run
    return None


def rotated(x: Tensor, angles: Angles, form: str, back: bool = False) -> Tensor:
    """The vectors (n, d), rotated by RoPE in their first dimensions.

    Args:
        form: "half" pairs dimension i with i + d/2, "pairs" with its neighbor; the angles are
            those of each dimension. Or they are given "once" for each pair, or for all pairs and
            then "repeated", whichever dimensions a pair has.
        back: rotate them back.
    """
    cos, sin = (_for_both(t, form) for t in angles)
    size = cos.square() + sin.square() if back else torch.ones_like(cos)  # some scale as well
    first, rest = x[:, : cos.shape[1]], x[:, cos.shape[1] :]
    turned = _turned(first, form)
    sin = -sin if back else sin
    return torch.cat([(first * cos + turned * sin) / size, rest], dim=1)


def _for_both(angles: Tensor, form: str) -> Tensor:
    """(n, r): an angle's cosine or sine for each dimension that is rotated."""
    if form in ("half", "pairs"):
        return angles
    once = angles[:, : angles.shape[1] // 2] if "repeated" in form else angles
    return once.repeat_interleave(2, dim=1) if "pairs" in form else torch.cat([once, once], dim=1)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a plain linear map."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def is_norm(run: ModuleRun) -> bool:
    """Whether a module normalizes."""
    return bool(_NORM.search(type(run.module).__name__))


def token_rows(t: Tensor, item: int) -> Iterator[Tensor]:
    """(n, F) readings of a module's tensor: a row for each token, heads one after the other."""
    if t.ndim >= 2 and t.shape[0] > item:
        one = t[item].detach().float().cpu()
        if one.ndim == 2:
            yield one
        if one.ndim == 3:
            yield one.flatten(1)  # (n, H * d)
            yield one.transpose(0, 1).flatten(1)
    if t.ndim == 2:  # tokens without a batch
        yield t.detach().float().cpu()


def same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether two tensors are the same up to rounding."""
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * _size(b))


def _projected(
    vectors: Tensor, runs: Sequence[ModuleRun], item: int, tolerance: float
) -> Projection | None:
    """The part of a linear map that gave these vectors, checked by applying it again."""
    for run in runs:
        if not is_linear(run.module) or not run.given:
            continue
        for given, out in zip(
            token_rows(run.given[0], item), token_rows(run.out, item), strict=False
        ):
            at = _columns(vectors, out, tolerance)
            if at is None:
                continue
            part = slice(at, at + vectors.shape[1])
            bias = getattr(run.module, "bias", None)
            made = Projection(
                given,
                _matrix(run.module)[:, part].clone(),  # not a view: the model may go
                None if bias is None else bias.detach()[part].float().cpu().clone(),
            )
            if same(made(given), vectors, tolerance):
                return made
    return None


def _before_norm(vectors: Tensor, run: ModuleRun, item: int, tolerance: float) -> Tensor | None:
    """What a norm was given for these vectors; None if they aren't its result."""
    if not is_norm(run) or not run.given:
        return None
    for given, out in zip(token_rows(run.given[0], item), token_rows(run.out, item), strict=False):
        at = _columns(vectors, out, tolerance)
        if at is not None and given.shape == out.shape:
            return given[:, at : at + vectors.shape[1]]
    return None


def _columns(vectors: Tensor, among: Tensor, tolerance: float) -> int | None:
    """Where (n, d) vectors stand among the columns of (n, F); None if they don't."""
    n, d = vectors.shape
    if len(among) != n or among.shape[1] < d:
        return None
    close = tolerance * _size(vectors)
    first = (among[:, : among.shape[1] - d + 1] - vectors[:, :1]).abs().amax(dim=0) <= close
    for at in first.nonzero().flatten().tolist():
        if bool((among[:, at : at + d] - vectors).abs().max() <= close):
            return int(at)
    return None


def _matrix(module: nn.Module) -> Tensor:
    """(inputs, outputs) of a linear map."""
    weight = module.weight.detach().float().cpu()  # type: ignore[operator, union-attr]
    return weight.T if isinstance(module, nn.Linear) else weight


def _turned(x: Tensor, form: str) -> Tensor:
    if "half" in form:
        first, second = x.chunk(2, dim=-1)
        return torch.cat((-second, first), dim=-1)
    even, odd = x[:, ::2], x[:, 1::2]
    return torch.stack((-odd, even), dim=-1).flatten(1)


def _size(t: Tensor) -> float:
    return float(t.abs().max()) or 1.0
