"""The types that the canvas's JavaScript gives to what Python sends: js/payload.js."""

from __future__ import annotations

import re

import numpy as np
import pytest

from attnviz.canvas import (
    Viewport,
    grid_payload,
    image_payload,
    lines_payload,
    map_payload,
    matrix_payload,
    neuron_payload,
    strip_payload,
    wire,
)
from attnviz.canvas.bundle import ASSETS, Payload
from attnviz.canvas.interaction import TokenRef
from attnviz.ui.lab.flow_view import flow_payload
from attnviz.ui.lab.layer_controls import FIRST
from tests.browser.apps.canvas_app import image_trace, trace_of

N = 12
TRACE = trace_of("decoder", N)
IMAGE_TRACE = image_trace()
PAYLOADS: dict[str, list[Payload]] = {
    "flow": [flow_payload(FIRST.steps(), FIRST, None, (1, 3, 2), "stale")],
    "grid": [grid_payload(TRACE, selected=(0, 1))],
    "map": [
        map_payload(TRACE, 1, 2, Viewport((0, 4), (0, 4)), cell=(3, 1), size=4),
        matrix_payload(
            np.ones((2, 3)), "ab", "cde", title="t", id="i", two_sided=True, value_title="value"
        ),
    ],
    "image": [image_payload(IMAGE_TRACE, 1, 2, 3)],
    "lines": [lines_payload(TRACE, 1)],
    "neuron": [neuron_payload(TRACE, 1, 2)],
    "strip": [strip_payload(TRACE, 1, 2, focus=TokenRef("row", 5))],
}


def typedefs() -> dict[str, str]:
    """The comment with each mode's types, by the mode; "common" has what all headers share."""
    text = (ASSETS / "payload.js").read_text(encoding="utf-8")
    comments = re.findall(r"/\*\*.*?\*/", text, re.DOTALL)
    found = {m[1]: c for c in comments if (m := re.search(r'mode: "(\w+)"', c))}
    return {**found, "common": next(c for c in comments if "CommonHeader" in c)}


@pytest.mark.parametrize("mode", PAYLOADS)
def test_every_name_that_is_sent_has_a_type_and_the_reverse(mode: str) -> None:
    own, common = typedefs()[mode], typedefs()["common"]
    declared, required = names(own), names(own, optional=False)
    shared = set(re.findall(r"@property \{.*?\} \[?(\w+)", common))
    sent: set[str] = set()
    for payload in PAYLOADS[mode]:
        header, arrays = wire.unpack(
            payload.encode(height=300, fills=True, compact=True, offline=True)
        )
        assert header["mode"] == mode
        # a flow's matrices name their arrays
        of_flow = {m["array"] for step in header.get("steps", ()) for m in step["matrices"]}
        top = set(header) | set(arrays) - of_flow
        assert top <= declared | shared, top - declared - shared
        sent |= top | nested(header)
    assert required <= sent, required - sent


def names(comment: str, optional: bool = True) -> set[str]:
    """Property names of the types in a comment."""
    found = re.findall(r"(?<![\w\"])(\w+)(\??): ", comment)
    aliases = re.findall(r"Record<Measure, Uint16Array>", comment)
    listed = {"received", "sent", "entropy"} if aliases else set()
    return listed | {name for name, mark in found if optional or not mark} - {"header", "arrays"}


def nested(value: object) -> set[str]:
    """Keys at every depth."""
    if isinstance(value, dict):
        return set(value).union(*map(nested, value.values()))
    return set().union(*map(nested, value)) if isinstance(value, list) else set()
