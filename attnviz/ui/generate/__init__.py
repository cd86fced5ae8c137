"""Generation on a page: the sampling controls, the run with its progress, the live view of it."""
