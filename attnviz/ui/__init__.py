"""Streamlit helpers. Streamlit is imported here, in ``app.py`` and in ``pages/``, nowhere else.

With a ``pages/`` folder, Streamlit takes the first visit to a server for its older scheme of pages:
a link straight to ``/explore`` would run that page's script without ``app.py``. Such a page imports
this package, and for the first time, so this is where the visit is turned over to ``app.py``. (With
an address unlike any file's name, the usual advice, that visitor sees "Page not found" instead.)

So ``app.py`` and every page come through here before anything of theirs loads torch, and what has
to be settled before that is settled here.
"""

from __future__ import annotations

import os

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

# OpenMP reads this when torch is loaded: its threads then sleep while they wait for one another,
# where spinning is up to 15 times slower beside a busy neighbor (docs/decisions).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if PagesManager.uses_pages_directory and get_script_run_ctx(suppress_warning=True) is not None:
    PagesManager.uses_pages_directory = False
    st.rerun()
