"""Module names that model files of earlier releases hold."""

from __future__ import annotations

import importlib
import sys

# A skops file and a pickle both name the module of each class. Release 0.1 had these modules elsewhere.
FORMER_NAMES = {
    "ratchet.embedding.calendar": "ratchet.model.embedding.calendar",
    "ratchet.estimators.cost_threshold": "ratchet.model.estimators.cost_threshold",
    "ratchet.estimators.matrix_factorization": "ratchet.model.estimators.matrix_factorization",
    "ratchet.estimators.outliers": "ratchet.model.estimators.outliers",
}


def register_former_names() -> None:
    """Make the modules importable under their former names; call it before a model file is loaded."""
    for former, current in FORMER_NAMES.items():
        if former not in sys.modules:
            sys.modules[former] = importlib.import_module(current)
