"""Writes docs/coverage.md: what a trace makes of every model type that transformers can build.

    python -m benchmarks.coverage

Takes a few minutes on one core. Ends with an error if any trace is wrong.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

from tests.tiny_models import TYPES
from tests.tiny_models.coverage import TOLERANCE, Row, examine, shares
from tests.tiny_models.exceptions import UNBUILDABLE

TABLE = Path(__file__).parent.parent / "docs" / "coverage.md"
COLUMNS = ("type", "class", "verdict", "layers", "sources", "max error", "note")


def document(rows: Sequence[Row]) -> str:
    """The whole page as Markdown."""
    whole = shares((row.tiny.model_type, row.verdict) for row in rows)
    lines = [
        "# Coverage",
        "",
        "What a trace makes of every text, seq2seq and image-classification type that "
        f"transformers {transformers.__version__} can build: all of its tables of causal and "
        "masked language models, text-to-text models and image classifiers, and text and image "
        "encoders that exist only as a base class. Each is built tiny and random "
        "(`tests/tiny_models`), traced, and compared with its own eager attention, every weight of "
        "every head and item. Made by `python -m benchmarks.coverage`; "
        "`tests/unit/trace/test_coverage.py` holds every row.",
        "",
        f"**{whole.types} types** in {len(rows)} classes, {whole.with_attention} with softmax "
        f"attention: **{whole.exact:.1%} exact, {whole.shown:.1%} exact or dense**, the rest "
        f"refused. No weight differs by more than {TOLERANCE:.0e} where the table was made. "
        "Differences below that are rounding, which other processors do otherwise; `python -m "
        "benchmarks.precision` compares in float64, where it all but vanishes.",
        "",
        "- *exact*: recomputed from Q, K, V and the score modifiers.",
        "- *dense*: the module's own weights, because it computes attention in code of its own.",
        "- *refused*: some of its attention cannot be shown, and the trace says why. Layers that "
        "mix positions without a softmax are refused too, and do not count in the verdict.",
        "- *none*: no softmax over keys anywhere.",
        "",
        _line(COLUMNS),
        _line(["---"] * len(COLUMNS)),
    ]
    for row in rows:
        error = "" if row.error is None else f"{row.error:.0e}"
        wrong = [f"**wrong**: {problem}" for problem in row.problems]
        lines.append(
            _line([*row.cells, error, "; ".join([*wrong, row.note] if row.note else wrong)])
        )
    lines += ["", "## Not built", "", *(f"- {name}: {why}" for name, why in UNBUILDABLE.items())]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Examines every type and writes the page; 1 if any trace is wrong."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows = []
    for tiny in TYPES:
        row = examine(tiny)
        rows.append(row)
        for problem in row.problems:
            print(f"{tiny.name}: {problem}", file=sys.stderr)
    TABLE.write_text(document(rows), encoding="utf-8")
    print(f"{TABLE}: {len(rows)} rows")
    return int(any(row.problems for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
