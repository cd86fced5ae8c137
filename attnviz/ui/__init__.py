"""Streamlit helpers. Streamlit is imported here, in ``app.py`` and in ``pages/``, nowhere else."""
