"""Drift between the reference profile of a version and new rows."""
