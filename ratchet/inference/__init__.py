"""Answering requests: the loaded model, its prediction log, and the version it follows."""
