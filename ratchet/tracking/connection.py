"""Connection to MLflow, its errors in one line, and its experiments."""

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
    """Return a client of the tracking server and registry in the settings.

    The process's own tracking URI is set too: MLflow resolves ``models:/<id>`` with it, whatever the client's is.
    """
    mlflow.set_tracking_uri(settings.tracking_uri)
    return mlflow.MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Turn MLflow's errors into one line with its address.

    Raises
    ------
    RegistryError: MLflow raised an error.
    """
    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"MLflow at {settings.tracking_place}: {one_line(error)}") from None


def ensure_experiment(settings: Settings, name: str) -> str:
    """Return the id of an experiment, created at first use with the artifact location of the settings.

    Raises
    ------
    RegistryError: MLflow is unreachable, or the experiment was deleted.
    """
    client, root = connect(settings), settings.mlflow_artifacts
    with reachable(settings):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return str(client.create_experiment(name, artifact_location=f"{root}/{name}" if root else None))
    if experiment.lifecycle_stage == "deleted":
        raise RegistryError(f"the MLflow experiment {name!r} is deleted: restore it, or choose another model name")
    return str(experiment.experiment_id)


def active_run_id() -> str:
    """Return the run that the pipeline's experiment tracker opened for the current step.

    Raises
    ------
    RegistryError: there is none, since the active stack has no MLflow experiment tracker.
    """
    run = mlflow.active_run()
    if run is None:
        raise RegistryError("the active ZenML stack opened no MLflow run: add an MLflow experiment tracker to it")
    return str(run.info.run_id)


def all_pages(search: Callable[[str | None], Any]) -> list[Any]:
    """Return the results of all pages of a search, which takes a page's token, None for the first."""
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found += page
    return found


def quoted(text: str) -> str:
    """Return a text as a string in a filter of MLflow, which has two kinds of quotation marks and no escapes."""
    return f'"{text}"' if "'" in text else f"'{text}'"
