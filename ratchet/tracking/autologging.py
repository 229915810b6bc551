"""MLflow's own autologging of a fit, for those who want its parameters, training metrics and figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlflow


@contextmanager
def autologged(*, enabled: bool) -> Iterator[None]:
    """Log the fits of the block to the active run by ``mlflow.autolog()``, without models and data sets.

    The package of a run is its only logged model. Autologging takes seconds, most of them for figures.
    """
    if not enabled:
        yield
        return
    mlflow.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        yield
    finally:
        mlflow.autolog(disable=True, silent=True)
