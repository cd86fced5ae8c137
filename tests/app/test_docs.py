"""The Docs page: every document is there, and links between them stay on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from attnviz.analysis.metrics import METRICS, table
from attnviz.ui.documents import documents, text, title

ROOT = Path(__file__).parents[2]


def test_all_documents_of_the_repository_are_there() -> None:
    found = set(documents().values())
    assert set(ROOT.glob("docs/**/*.md")) | {ROOT / "README.md", ROOT / "LICENSE"} == found
    assert len(set(map(title, found))) == len(found)


@pytest.mark.parametrize("name", documents())
def test_links_between_documents_lead_to_documents(name: str) -> None:
    shown = text(documents()[name])
    targets = re.findall(r"\]\(docs\?page=(\w[\w-]*)\)", shown)
    assert set(targets) <= set(documents())
    left = [link for link in re.findall(r"\]\(([^)#]+)\)", shown) if link.endswith(".md")]
    assert left == []


@pytest.mark.parametrize(
    ("page", "heading"), [("glossary", "# Glossary"), ("nothing", "# attnviz"), ("", "# attnviz")]
)
def test_the_link_opens_its_document(page: str, heading: str) -> None:
    app = AppTest.from_file(ROOT / "pages" / "docs.py", default_timeout=60)
    app.query_params["page"] = page
    app.run()
    assert not app.exception
    assert app.markdown[0].value.startswith(heading)


def test_a_chosen_document_is_in_the_link() -> None:
    app = AppTest.from_file(ROOT / "pages" / "docs.py", default_timeout=60).run()
    app.radio(key="document").set_value("metrics").run()
    assert app.query_params["page"] == "metrics"
    assert app.markdown[0].value.startswith("# Head metrics")


def test_the_table_of_metrics_is_in_their_document() -> None:
    shown = text(documents()["metrics"])
    assert table(METRICS.values()) in shown
    assert "<!--" not in shown
