"""attnviz, the app: its settings and its navigation. Start it with ``streamlit run app.py``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit import net_util

import attnviz.ui  # noqa: F401 (before torch, which a page may load)

# Streamlit also accepts connections from this machine's own addresses. To learn them it contacts
# 8.8.8.8 and checkip.amazonaws.com when a page from elsewhere connects; set, it contacts neither.
net_util._internal_ip = net_util._external_ip = "127.0.0.1"

# The browser would fetch a tab's :material: icon from Google's servers, and a page's icon becomes
# its tab's. So the tab's icon is a local file, and the pages have none.
ICON = Path(__file__).parent / "attnviz" / "ui" / "icon.svg"

layer_lab = st.Page(
    "pages/layer_lab.py",
    title="Layer lab",
    help="Turn every knob of one attention layer and watch each matrix follow.",
)
train = st.Page(
    "pages/train.py",
    title="Train",
    help="Train a small transformer, or fine-tune a model, and watch every head while it learns.",
)
explore = st.Page(
    "pages/explore.py",
    title="Explore",
    help="Load a pretrained model, paste a text, and look at any head with its exact numbers.",
)


def start() -> None:
    """Redirect the bare address to the page that starts fastest, which keeps its own address."""
    st.switch_page(layer_lab, query_params=st.query_params.to_dict())


home = st.Page(start, title="attnviz", url_path="start", default=True, visibility="hidden")
page = st.navigation({"Build": [layer_lab, train], "Look": [explore], "": [home]})
st.set_page_config(page_title=f"{page.title} · attnviz", page_icon=ICON, layout="wide")
page.run()
