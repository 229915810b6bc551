"""A stream of rows that drifts on purpose, sent at a running service."""
