"""Connection to MLflow, its errors in one line, and its experiments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ratchet.errors import RegistryError, one_line
from ratchet.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The description of an experiment or a run, which MLflow's pages show as Markdown.
NOTE = "mlflow.note.content"
# Without it, MLflow 3 takes an experiment for one of generative AI.
_CLASSIC = {"mlflow.experimentKind": "custom_model_development"}


def connect(settings: Settings) -> MlflowClient:
    """Return a client of the tracking server and registry in the settings.

    The process's own tracking URI is set too: MLflow resolves ``models:/<id>`` with it, whatever the client's is.
    """
    import mlflow

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
    except Exception as error:
        if not _is_of_mlflow(error):
            raise
        raise RegistryError(f"MLflow at {settings.tracking_place}: {one_line(error)}") from None


def comparisons_of(model: str) -> str:
    """Return the name of the experiment of a model's comparisons, which no model can have."""
    return f"{model}.comparisons"


def ensure_experiment(settings: Settings, name: str, note: str = "") -> str:
    """Return the id of an experiment, created at first use with the artifact location of the settings.

    Parameters
    ----------
    note: the description that MLflow's pages show.

    Raises
    ------
    RegistryError: MLflow is unreachable, or the experiment was deleted.
    """
    client, root = connect(settings), settings.mlflow_artifacts
    with reachable(settings):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = f"{root}/{name}" if root else None
            tags = _CLASSIC | ({NOTE: note} if note else {})
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
        if experiment.lifecycle_stage == "deleted":
            raise RegistryError(f"the MLflow experiment {name!r} is deleted: restore it, or choose another model name")
        for key, value in _CLASSIC.items():
            if key not in experiment.tags:  # made by an earlier release
                client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def active_run_id() -> str:
    """Return the run that the pipeline's experiment tracker opened for the current step.

    Raises
    ------
    RegistryError: there is none, since the active stack has no MLflow experiment tracker.
    """
    import mlflow

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


def _is_of_mlflow(error: Exception) -> bool:
    """Return whether MLflow raised an error; if it is not imported, it did not."""
    if "mlflow" not in sys.modules:
        return False
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException)


def quoted(text: str) -> str:
    """Return a text as a string in a filter of MLflow, which has two kinds of quotation marks and no escapes."""
    return f'"{text}"' if "'" in text else f"'{text}'"
