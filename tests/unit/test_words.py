"""Words on screen: phrases that were replaced by plain ones do not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OLD = (
    "Received from",
    "Sent to",
    "what it gives to each token",
    "click it again to let go",
    '"At least"',
    "As they are",
    '"By row"',
    '"By column"',
    "Linear colours",
    "Log colours",
    "(up to 1.0e-05 is rounding)",
    "Recomputed from Q, K and V",
    "Values, whose mean",
    "add up its weights",
    "A line's colour",
    '"Write"',
    '"One token"',
    "to its own end",
    "mixture of the values",
    "asks, offers and gives",
    "Longest text, in tokens",
    "refused rather than cut off",
    "A small transformer from nothing",
    "numbers learn",
    "nobody's open model",
    "What learns",
    "Share held out",
    '"or a text"',
    "Right on unseen sums",
    "right on held-out data",
    "right, held out",
    "lists it now as",
    "Head shown",
    "which carries the rest of the view",
    "The architecture's own",
    "One more score a head",
    "or a tokenizer to attnviz.wrap",
    "colour",
    "Normalis",
    "normalis",
    "quantised",
)


@pytest.mark.parametrize("phrase", OLD)
def test_an_old_phrase_is_gone(phrase: str) -> None:
    sources = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]
    for suffix in ("py", "js", "css"):
        sources += (ROOT / "attnviz").rglob(f"*.{suffix}")
    assert len(sources) > 200
    found = [str(path) for path in sources if phrase in path.read_text(encoding="utf-8")]
    assert found == []
