"""Dataclasses built from JSON values, whose types are checked first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from attnviz.errors import AttnVizError

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance of the dataclass ``kind`` with these field values.

    Raises:
        AttnVizError: an unknown field, a missing one, or a value of another type.
    """
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    if unknown := sorted(set(values) - known):
        raise AttnVizError(
            f"A job has no setting {unknown[0]!r}.", f"Those of {kind.__name__}: {sorted(known)}."
        )
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not has_type(value, hints[name]):
            raise AttnVizError(
                f"{name} cannot be {str(value)[:80]!r} in a job's settings.", "Submit it again."
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise AttnVizError(f"The job's settings are incomplete: {error}.") from error


def has_type(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; integers count as floats, infinities don't."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(has_type(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(has_type(item, arguments[0]) for item in value)
    if hint is float:
        return type(value) in (int, float) and abs(value) < math.inf
    return type(value) is hint if hint in (int, str) else isinstance(value, origin or hint)
