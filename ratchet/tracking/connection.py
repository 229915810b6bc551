"""Where MLflow is, and what it says when it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.exceptions import MlflowException

from ratchet.errors import RegistryError, one_line
from ratchet.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


def connect(settings: Settings) -> MlflowClient:
    """A client of the tracking server and registry that the settings name.

    The process's own tracking URI is set too: MLflow resolves ``models:/<id>`` through it, whatever the client's is.
    """
    mlflow.set_tracking_uri(settings.tracking_uri)
    return mlflow.MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Turn what MLflow raises, when it cannot be reached or refuses, into one line that names the place.

    Raises
    ------
    RegistryError: MLflow raised something.
    """
    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"MLflow at {settings.tracking_place}: {one_line(error)}") from None


def ensure_experiment(settings: Settings, name: str) -> str:
    """The id of an experiment, made on first use with artifacts where the settings put them.

    Raises
    ------
    RegistryError: MLflow cannot be reached, or the experiment was deleted.
    """
    client = connect(settings)
    with reachable(settings):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return str(client.create_experiment(name, artifact_location=_artifact_location(settings, name)))
    if experiment.lifecycle_stage == "deleted":
        raise RegistryError(f"the MLflow experiment {name!r} is deleted: restore it, or choose another model name")
    return str(experiment.experiment_id)


def active_run_id() -> str:
    """The run that the pipeline's experiment tracker opened for the current step.

    Raises
    ------
    RegistryError: there is none, since the active stack has no MLflow experiment tracker.
    """
    run = mlflow.active_run()
    if run is None:
        raise RegistryError("the active ZenML stack opened no MLflow run: give it an MLflow experiment tracker")
    return str(run.info.run_id)


def all_pages(search: Callable[[str | None], Any]) -> list[Any]:
    """Everything that a paged search finds.

    Parameters
    ----------
    search: takes the token of a page, None for the first, and returns it.
    """
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found += page
    return found


def _artifact_location(settings: Settings, experiment: str) -> str | None:
    root = settings.mlflow_artifacts
    return f"{root}/{experiment}" if root else None
