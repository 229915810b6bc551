"""Data sources, one module a kind."""
