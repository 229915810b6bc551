"""A stream of drifting rows, sent to a running service."""
