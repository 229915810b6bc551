"""Ratchet's library, independent of ZenML and BentoML."""

__version__ = "0.1.0"
