"""What is computed from layers and traces for somebody to look at."""
