"""MLflow's own autologging of a fit, for those who want its parameters, training metrics and figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlflow.sklearn


@contextmanager
def autologged(*, enabled: bool) -> Iterator[None]:
    """Log the fits of the block to the active run by MLflow's autologging of scikit-learn, without model and data.

    The package of a run is its only logged model. Autologging takes seconds, most of them for figures.
    """
    if not enabled:
        yield
        return
    # mlflow.autolog() leaves out a library that was switched off by name, as ZenML does after each step.
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)
    try:
        yield
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
