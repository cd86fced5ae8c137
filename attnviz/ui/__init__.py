"""All of the app that needs Streamlit, which only ``app.py``, ``pages/`` and this package import.

``app.py`` and every page import this package first, before torch is loaded, so two things that must
come before that are done here: OpenMP's settings, and a fix for a server's first visit.

With a ``pages/`` folder, Streamlit handles that visit by its older scheme of pages: a link straight
to ``/explore`` runs that page's script without ``app.py``. The page's import of this package is
then the first one, and hands the visit over to ``app.py``. (With an address unlike any file's name,
the usual advice, the visitor sees "Page not found" instead: docs/decisions.)
"""

from __future__ import annotations

import os

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

# OpenMP reads this when torch is loaded. Its threads then sleep while they wait for one another;
# spinning is up to 15 times slower beside a busy process (docs/decisions).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_run = get_script_run_ctx(suppress_warning=True)
if PagesManager.uses_pages_directory and _run is not None:
    PagesManager.uses_pages_directory = False
    if _run.pages_manager.intended_page_name:  # the bare address has none: app.py runs already
        st.rerun()
