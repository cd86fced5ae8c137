"""The cards below Home's first screen: six examples, the other pages, and what is verified."""

from __future__ import annotations

from typing import Any

from attnviz.ui.home.views import D_MODEL, N_HEADS, TEXT, Kept, layer_name, scientific

Card = dict[str, Any]  # see canvas/js/home/cards.js


def cards(kept: Kept) -> list[Card]:
    """All of them, in the order in which they stand."""
    examples = [{**one, "maps": [one["weights"]]} for one in kept["examples"]]
    return [*examples, _layer_lab(kept), _train(kept), _verified(kept)]


def _layer_lab(kept: Kept) -> Card:
    return {
        "name": "lab",
        "title": "Layer lab",
        "about": "Build one attention layer: heads, masks, positions, scale. Every matrix follows "
        "as you move a slider.",
        "page": "layer_lab",
        "params": {"text_lab": TEXT},
        "maps": kept["layers"][layer_name(D_MODEL, N_HEADS)]["heads"],
    }


def _train(kept: Kept) -> Card:
    training = kept["training"]
    name, values = max(training["heads"].items(), key=lambda item: item[1][-1])
    jump = next(step for step, value in zip(training["steps"], values, strict=True) if value >= 500)
    return {
        "name": "train",
        "title": "Train",
        "about": f"Watch an induction head appear: {name} passes 0.5 by step {jump}. Each line is "
        "one head's induction score.",
        "page": "train",
        "params": {},
        "curves": training,
    }


def _verified(kept: Kept) -> Card:
    sentence = kept["sentence"]
    return {
        "name": "verified",
        "title": "What is verified",
        "about": "Each layer's output is recomputed from the Q, K, V on screen and compared with "
        f"the model's own: here {sentence['layers']} of {sentence['layers']} layers, to within "
        f"{scientific(sentence['error'])}. A map that fails is never shown as exact.",
        "page": "docs",
        "params": {"page": "receipts"},
        "mark": True,
    }
