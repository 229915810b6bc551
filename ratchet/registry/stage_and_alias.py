"""The stage ``Production`` and the alias ``champion`` in MLflow: the stage is the truth, the alias mirrors it.

Only ``production_pointer`` uses this module.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

PRODUCTION = "Production"
CHAMPION = "champion"


def set_stage(client: MlflowClient, model: str, version: str) -> None:
    """Move a version into the stage Production and archive all others, in one transaction of MLflow."""
    with warnings.catch_warnings():
        # MLflow warns at every use of a stage; docs/decisions/0001-stage-is-the-truth.md has the reason to use them.
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*deprecated since 2\.9")
        client.transition_model_version_stage(model, version, PRODUCTION, archive_existing_versions=True)


def set_alias(client: MlflowClient, model: str, version: str) -> None:
    """Set the alias champion to a version, in one write."""
    client.set_registered_model_alias(model, CHAMPION, version)
