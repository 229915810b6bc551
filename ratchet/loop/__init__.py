"""Continuous training: triggers, decisions, runs and snapshots."""
