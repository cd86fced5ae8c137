"""A layer record as a nested dict of tensors and plain values, and back: for files.

    parts = record_to_parts(trace.layer_record(3))   # {"form": "products", "q": Tensor, ...}
    record = record_from_parts(parts)

The keys are a file format (snapshots of trainings): they stay, whatever the fields are called.
"""

from __future__ import annotations

from typing import Any

import torch

from attnviz.errors import AttnVizError
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import LayerRecord, QKVRecord, WeightsRecord
from attnviz.trace.terms import Term

_MASK_DTYPES = {str(dtype): dtype for dtype in (torch.float16, torch.bfloat16)}


def record_to_parts(record: LayerRecord) -> dict[str, Any]:
    """The parts of a record.

    Raises:
        AttnVizError: a layer that was edited.
    """
    if isinstance(record, WeightsRecord):
        return {
            "form": "pattern",
            "values": record.values,
            "made_of": record.raw_scores,
            "q": record.q,
            "k": record.k,
            "v": record.v,
        }
    if not isinstance(record, QKVRecord):
        raise AttnVizError("An edited trace cannot be saved as a snapshot.", "Trace without edits.")
    modifiers = record.modifiers
    return {
        "form": "products",
        "q": record.q,
        "k": record.k,
        "v": record.v,
        "scaling": modifiers.scaling,
        "softcap": modifiers.softcap,
        "sinks": modifiers.sinks,
        "sink_gates_output": modifiers.sink_gates_output,
        "masked_in": None if modifiers.mask_dtype is None else str(modifiers.mask_dtype),
        "terms": [{"form": term.form, **term.parts()} for term in modifiers.terms],
    }


def record_from_parts(parts: dict[str, Any]) -> LayerRecord:
    """The record that these are the parts of."""
    if parts["form"] == "pattern":
        return WeightsRecord(parts["values"], parts["made_of"], parts["q"], parts["k"], parts["v"])
    dtype = parts.get("masked_in")
    modifiers = ScoreModifiers(
        parts["scaling"],
        parts["softcap"],
        tuple(_term(term) for term in parts["terms"]),
        parts["sinks"],
        parts["sink_gates_output"],
        None if dtype is None else _MASK_DTYPES[dtype],
    )
    return QKVRecord(parts["q"], parts["k"], parts["v"], modifiers)


def _term(parts: dict[str, Any]) -> Term:
    fields = {name: value for name, value in parts.items() if name != "form"}
    return Term.forms[parts["form"]](**fields)
