"""Every example of the catalog, chosen from the menu as a person does, and drawn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from attnviz.models import catalog
from tests.browser.test_explore import Canvas, slider
from tests.conftest import Visit

NAMES = ("smollm2-135m", "minilm-l6", "tiny-dates", "tiny-digits", "tiny-induction")


@pytest.mark.parametrize("name", NAMES)
def test_each_example_renders(name: str, visit: Callable[..., Visit]) -> None:
    one = visit()
    page = one.open(f"/explore?model={name}")
    for example in catalog.examples_of(name)[::-1]:
        page.get_by_role("button", name="Examples").click()
        page.get_by_role("menuitem", name=example.title).or_(
            page.get_by_role("option", name=example.title)
        ).first.click()
        pane = page.locator(".st-key-explanation")
        expect(pane.get_by_text(example.about.split(":")[0], exact=False).first).to_be_visible()
        one.idle()
        expect(slider(page, "Head")).to_have_value(str(example.head))
        if example.digit is None:
            cell = Canvas(page, "map").run("return mode.header.cell;")
            assert cell == [example.query, example.key]
        else:  # an image opens on its own view, which shows the query's row
            image = Canvas(page, "image")
            assert image.run("return mode.query;") == example.query
            weight = image.run("return mode.row.weights[argument];", example.key)
            assert weight == pytest.approx(example.weight, abs=1e-3)
        # the cell's arithmetic ends in the weight that the sentence names
        expect(pane.get_by_text(f"{example.weight:.3f}"[:-1], exact=False).first).to_be_visible()
