"""Ratchet's library: everything that deserves a unit test, and nothing of ZenML or BentoML."""

__version__ = "0.1.0"
