"""Fit an embedder and an estimator on a file that does not fit in memory, batch by batch."""

from ratchet.model.batches.embedder import fit_embedder
from ratchet.model.batches.training import fit_model, require_partial_fit

__all__ = ["fit_embedder", "fit_model", "require_partial_fit"]
