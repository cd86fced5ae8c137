"""Explore: one head in every view, the grid of heads, tokens, receipt, stream and predictions."""
