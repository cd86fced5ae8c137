"""A model that writes: its sampling, its progress, and what the page shows meanwhile."""
