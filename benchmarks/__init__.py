"""What the figures in README come from: ``python -m benchmarks``, or one by its name."""
