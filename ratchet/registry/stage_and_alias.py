"""How MLflow says what is in Production: the stage, and the alias.

One of the two is the truth and the other its mirror, by ``RATCHET_PRODUCTION_TRUTH``. Only ``production_pointer`` uses
this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from mlflow.exceptions import MlflowException

from ratchet.tracking import all_pages

if TYPE_CHECKING:
    from mlflow import MlflowClient

PRODUCTION = "Production"
CHAMPION = "champion"
Truth = Literal["stage", "alias"]


def in_stage(client: MlflowClient, model: str) -> list[str]:
    """The versions in the stage Production, lowest first.

    One query for up to ten thousand versions, so that a change is seen whole.
    """
    found = all_pages(lambda token: client.search_model_versions(f"name = '{model}'", page_token=token))
    return sorted((str(v.version) for v in found if v.current_stage == PRODUCTION), key=int)


def with_alias(client: MlflowClient, model: str) -> list[str]:
    """The version that has the alias champion, if any."""
    try:
        return [str(client.get_model_version_by_alias(model, CHAMPION).version)]
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return []
        raise


def set_stage(client: MlflowClient, model: str, version: str) -> None:
    """Put a version into the stage Production as all others leave it: one transaction on MLflow's side."""
    with _stages_are_deprecated():
        client.transition_model_version_stage(model, version, PRODUCTION, archive_existing_versions=True)


def set_alias(client: MlflowClient, model: str, version: str) -> None:
    """Give a version the alias champion, which whoever had it loses: one write."""
    client.set_registered_model_alias(model, CHAMPION, version)


@contextmanager
def _stages_are_deprecated() -> Iterator[None]:
    """MLflow warns at every use of a stage; the decision to use them stands in docs/decisions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*deprecated since 2\.9")
        yield
