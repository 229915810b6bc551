"""Serving a model: the loaded package, the prediction log, and the version in Production."""
