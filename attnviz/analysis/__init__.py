"""What is computed from layers and traces: head metrics, overviews, matrices, files."""
