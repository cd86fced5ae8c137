"""The canvas's script and style are served as files."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def page() -> None:
    import attnviz
    from attnviz.canvas import map_payload
    from attnviz.ui.canvas import canvas

    trace = attnviz.load("smollm2-135m", device="cpu").trace("The capital of France is")
    canvas(map_payload(trace, 0, 0), key="map")


def test_a_rerun_sends_no_code() -> None:
    app = AppTest.from_function(page, default_timeout=120).run()
    assert not app.exception
    sent = app.main[0].proto
    assert (sent.js_content, sent.css_content) == ("", "")
    assert sent.js_source_path == "component.js"
