"""attnviz, the app: page settings and the way around. Start it with ``streamlit run app.py``."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="attnviz", page_icon=":material/grid_on:", layout="wide")

# A url_path that equals its file's name would let a cold link run the page without this script.
layer_lab = st.Page(
    "pages/layer_lab.py",
    title="Layer lab",
    icon=":material/tune:",
    url_path="layer-lab",
    help="Turn every knob of one attention layer and watch each matrix follow.",
)
explore = st.Page(
    "pages/explore.py",
    title="Explore",
    icon=":material/search:",
    url_path="explore-model",
    help="Load a pretrained model, paste a text, and look at any head with its exact numbers.",
)


def start() -> None:
    """The bare address leads to the page that is alive at once; its own address stays its own."""
    st.switch_page(layer_lab, query_params=st.query_params.to_dict())


home = st.Page(start, title="attnviz", url_path="start", default=True, visibility="hidden")
page = st.navigation({"Build": [layer_lab], "Look": [explore], "": [home]})
page.run()
