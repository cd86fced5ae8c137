"""The project's documents, as the Docs page shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FIRST: Final = "guide"
_METRICS: Final = "<!-- The Docs page shows the table here. -->"
_LINK = re.compile(r"(\]\()([\w./-]+?)(\))")
_IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n", re.MULTILINE)


def documents() -> dict[str, Path]:
    """Each document by its short name, the guide first; a name's file is there."""
    pages = sorted(ROOT.glob("docs/*.md")) + sorted(ROOT.glob("docs/decisions/*.md"))
    found = {FIRST: ROOT / "README.md"}
    found |= {path.stem: path for path in pages}
    found |= {"license": ROOT / "LICENSE"}
    return {name: path for name, path in found.items() if path.is_file()}


def title(path: Path) -> str:
    """What a list calls it: its first heading."""
    first = path.read_text(encoding="utf-8").strip().splitlines()[0]
    return "Guide" if path.name == "README.md" else first.lstrip("# ").strip()


def text(path: Path) -> str:
    """Its Markdown; links to other documents lead to them on this page. A plain text stays one."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return f"```\n{source}\n```"
    if _METRICS in source:
        from attnviz.analysis import metrics  # here, because it loads torch

        source = source.replace(_METRICS, metrics.table(metrics.METRICS.values()))
    names = {file.resolve(): name for name, file in documents().items()}

    def relinked(match: re.Match[str]) -> str:
        name = names.get((path.parent / match[2]).resolve())
        return f"{match[1]}docs?page={name}{match[3]}" if name else match[0]

    return _LINK.sub(relinked, _IMAGE.sub("", source))
