"""The runs of a model that a comparison contains, read from MLflow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ratchet.errors import RegistryError
from ratchet.settings import Settings
from ratchet.store.timestamps import iso_utc
from ratchet.tracking import all_pages, connect, reachable
from ratchet.tracking.keys import separate_params
from ratchet.tracking.lineage import PREFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient

STUDY_TAG, TRIAL_TAG = f"{PREFIX}study", f"{PREFIX}trial"
_TRAINED_BY = f"{PREFIX}trained_by_run"
# Only finished training runs have an outcome; trials, reports and comparisons have none.
_ENDED = f"attributes.status = 'FINISHED' and tags.`{PREFIX}outcome` LIKE '%'"
_RUN_NAME = re.compile(r"(?P<label>.+)-\d{8}-\d{6}-[0-9a-f]{6}")
_PAGE = 500


@dataclass(frozen=True)
class FinishedRun:
    """A training run that went through the gate.

    Attributes
    ----------
    label: the name of its config file, without the suffix.
    when: when it began, ISO 8601, UTC.
    params: the flattened config, as text.
    metrics: its metrics; for cached steps those of the run that executed them.
    superseded: whether its config has a newer run; it is included because its version is in Production.
    """

    run_id: str
    name: str
    label: str
    when: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    superseded: bool = False

    @property
    def study(self) -> str | None:
        """The Optuna study that found its parameters."""
        return self.tags.get(STUDY_TAG)

    @property
    def title(self) -> str:
        """The config's name, with the trial of a study or the version where the name is not unique."""
        found_by = f" (trial {self.tags.get(TRIAL_TAG, '?')} of {self.study})" if self.study else ""
        return f"{self.label}{found_by}{f', version {self.version}' if self.superseded else ''}"

    @property
    def version(self) -> str | None:
        """The registered version that it produced."""
        return self.tags.get(f"{PREFIX}model_version")


def newest_runs(settings: Settings, model: str, champion: str | None = None) -> tuple[str, list[FinishedRun]]:
    """Return the newest finished run of each config and of each study of a model, and the run of its champion.

    The champion's run is included even where its config has newer runs.

    Returns
    -------
    The experiment's id and the runs, newest first.

    Raises
    ------
    RegistryError: MLflow cannot be reached, or no run of this model has finished.
    """
    client = connect(settings)
    with reachable(settings):
        experiment = client.get_experiment_by_name(model)
        found = [] if experiment is None else _search(client, experiment.experiment_id, _ENDED)
        if experiment is None or not found:
            raise RegistryError(f"no run of {model!r} has finished yet: train it with python run.py --config FILE")
        newest: dict[tuple[str, str | None], FinishedRun] = {}
        for run in found:
            newest.setdefault((run.label, run.study), run)
        chosen = list(newest.values())
        if champion is not None and champion not in {run.version for run in chosen}:
            chosen += [replace(run, superseded=True) for run in found if run.version == champion][:1]
        number = str(experiment.experiment_id)
        return number, [_with_metrics_of_training(client, number, run) for run in chosen]


def label_of(name: str) -> str:
    """Return the config's name in a run's name: ``baseline`` in ``baseline-20260102-030405-0a1b2c``."""
    match = _RUN_NAME.fullmatch(name)
    return match["label"] if match else name


def _search(client: MlflowClient, experiment: str, which: str) -> list[FinishedRun]:
    runs = all_pages(
        lambda token: client.search_runs(
            [experiment], which, max_results=_PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
    )
    return [_finished_run(run) for run in runs]


def _finished_run(run: Any) -> FinishedRun:
    name = run.info.run_name or run.info.run_id
    return FinishedRun(
        run_id=run.info.run_id,
        name=name,
        label=label_of(name),
        when=iso_utc(run.info.start_time / 1000),
        params=separate_params(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def _with_metrics_of_training(client: MlflowClient, experiment: str, run: FinishedRun) -> FinishedRun:
    """Add the metrics of the run that trained the model, where this run took the model from the cache."""
    trained_by = run.tags.get(_TRAINED_BY)
    if trained_by is None:
        return run
    known = _search(client, experiment, f"attributes.run_id = '{trained_by}'")
    return replace(run, metrics={**known[0].metrics, **run.metrics}) if known else run
