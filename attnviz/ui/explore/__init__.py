"""The Explore page's parts: a head, all heads, tokens, receipt, stream, and a model that writes."""
