"""The stage ``Production`` and the alias ``champion`` in MLflow: the stage is the truth, the alias mirrors it.

Only ``production_pointer`` uses this module.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from ratchet.tracking import all_pages, quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient

PRODUCTION = "Production"
CHAMPION = "champion"


def in_stage(client: MlflowClient, model: str) -> list[str]:
    """Return the versions in the stage Production, lowest first.

    One query returns up to ten thousand versions, so that a change is read whole.
    """
    found = all_pages(lambda token: client.search_model_versions(f"name = {quoted(model)}", page_token=token))
    return sorted((str(v.version) for v in found if v.current_stage == PRODUCTION), key=int)


def with_alias(client: MlflowClient, model: str) -> list[str]:
    """Return the version that has the alias champion, or an empty list."""
    try:
        return [str(client.get_model_version_by_alias(model, CHAMPION).version)]
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return []
        raise


def set_stage(client: MlflowClient, model: str, version: str) -> None:
    """Move a version into the stage Production and archive all others, in one transaction of MLflow."""
    with warnings.catch_warnings():
        # MLflow warns at every use of a stage; docs/decisions/0001-stage-is-the-truth.md has the reason to use them.
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*deprecated since 2\.9")
        client.transition_model_version_stage(model, version, PRODUCTION, archive_existing_versions=True)


def set_alias(client: MlflowClient, model: str, version: str) -> None:
    """Set the alias champion to a version, in one write."""
    client.set_registered_model_alias(model, CHAMPION, version)
