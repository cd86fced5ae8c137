"""attnviz, the app: its settings and its navigation. Start it with ``streamlit run app.py``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit import net_util

import attnviz.ui  # noqa: F401 (before torch, which a page may load)
from attnviz.ui import query_params
from attnviz.ui.home import live

# Streamlit also accepts connections from this machine's own addresses. To learn them it contacts
# 8.8.8.8 and checkip.amazonaws.com when a page from elsewhere connects; set, it contacts neither.
net_util._internal_ip = net_util._external_ip = "127.0.0.1"

# The browser would fetch a tab's :material: icon from Google's servers, and a page's icon becomes
# its tab's. So the tab's icon is a local file, and the pages have none.
IMAGES = Path(__file__).parent / "attnviz" / "ui"
TITLE = "attnviz: look inside attention"

home = st.Page("pages/home.py", title="Home", default=True)
PAGES = [
    home,
    st.Page(
        "pages/layer_lab.py",
        title="Layer lab",
        help="Turn every knob of one attention layer and watch each matrix follow.",
    ),
    st.Page(
        "pages/train.py",
        title="Train",
        help="Train a small transformer, or fine-tune a model, and watch every head while it "
        "learns.",
    ),
    st.Page(
        "pages/explore.py",
        title="Explore",
        help="Load a pretrained model, paste a text, and look at any head with its exact numbers.",
    ),
    st.Page("pages/docs.py", title="Docs", help="What the words and the numbers mean."),
]

page = st.navigation(PAGES, position="top")
st.set_page_config(page_title=TITLE if page is home else f"{page.title} · attnviz", layout="wide")


def brand() -> None:
    """The tab's icon, and the name in the navigation."""
    st.set_page_config(page_icon=IMAGES / "icon.svg")
    st.logo(IMAGES / "wordmark.svg", size="large")


if left := query_params.arrive(page.url_path):
    st.switch_page(page, query_params=left)

# To open an image Streamlit loads NumPy. Home does not wait for that: until the model is loaded,
# the brand comes after the picture.
brand_first = page is not home or live.is_loaded()
if brand_first:
    brand()
try:
    page.run()
finally:
    query_params.keep_link(page.url_path)
if not brand_first and live.has_painted():
    brand()
