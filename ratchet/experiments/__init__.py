"""Experiments: tuning, comparison and reproduction of runs."""
