"""The token that the page is about is a token of a text, and nothing else."""

from __future__ import annotations

import attnviz
from attnviz.canvas import TokenRef
from attnviz.ui.explore import focus
from attnviz.ui.explore.focus import Focus
from tests.unit.trace.towers import idefics2, pixels, tiny


def test_only_what_is_a_token_of_the_text_can_be_in_focus() -> None:
    module, given = idefics2()
    trace = attnviz.wrap(module).trace(inputs=given)
    seen, slots, text = trace.layers[0], trace.layers[2], trace.layers[4]
    place = TokenRef("row", 2)
    assert focus.from_map(trace, seen, place) is focus.from_map(trace, slots, place) is None
    assert focus.from_map(trace, text, place) == Focus("source", 2)
    assert focus.in_map(trace, seen, Focus("source", 2)) is None
    assert focus.in_map(trace, text, Focus("source", 2)) == place
    picture = attnviz.wrap(tiny("vit/ViTForImageClassification")[0]).trace(
        inputs={"pixel_values": pixels(1, 3, 32, 32)}
    )
    assert focus.from_map(picture, picture.layers[0], place) == Focus("source", 2)
