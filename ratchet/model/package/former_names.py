"""Former names of modules, which the model files of earlier releases refer to."""

from __future__ import annotations

import importlib
import sys

# Skops files and pickles name the module of each class; these are the names of release 0.1.
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
