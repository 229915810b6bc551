"""Experiments: tuning, the comparison of runs, and the reproduction of a version."""
