"""A study in its database: SQLite or PostgreSQL, in Optuna's own tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ratchet.config import LOSSES
from ratchet.config.tuning import Search, TuningConfig, chosen_in_order
from ratchet.errors import ConfigError, StateError, one_line
from ratchet.experiments.tuning.samplers import pruner_for, values_of_trial, without_experimental_warnings
from ratchet.experiments.tuning.summary import Baseline, TrialRecord
from ratchet.settings import Settings, prepare_home, without_password
from ratchet.store.sqlite import write_ahead

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

# User attributes of a study and of a trial. Studies of earlier releases have the same.
_IDENTITY, _BASELINE = "ratchet.identity", "ratchet.baseline"
FOLDS, REASON = "ratchet.folds", "ratchet.reason"


def identity(config: TuningConfig, data_version: str) -> dict[str, Any]:
    """Return all that determines a study's trials; another identity is another study.

    The number of trials, the time limit and the workers are no part of it.
    """
    base = config.base().model_dump(mode="json", exclude_defaults=True, exclude={"tracking"})
    search = config.search.model_dump(mode="json")
    evaluated = {"primary_metric": config.evaluate.primary_metric}
    made = {key: base.get(key) for key in ("model", "task", "seed", "dataset", "split", "embed", "train")}
    return {
        "space": [[path, search["space"][path]] for path in chosen_in_order(config.search.space)],
        "baseline": made | evaluated,
        "data": data_version,
        "search": {key: search[key] for key in ("sampler", "pruner", "folds")} | {"batch": config.batch},
    }


def study_name(config: TuningConfig, data_version: str) -> str:
    """Return the study's name: the config's, else the model and 12 hexadecimal digits of the identity's hash."""
    if config.search.study is not None:
        return config.search.study
    canonical = json.dumps(identity(config, data_version), sort_keys=True, separators=(",", ":"))
    return f"{config.model}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class StoredStudy:
    """An open study."""

    study: Study  # without a sampler of its own
    place: str  # the database's URL, without a password
    search: Search
    storage: RDBStorage

    def ended(self) -> list[TrialRecord]:
        """Return the trials that have ended, in the order of their numbers."""
        trials = self.study.get_trials(deepcopy=False)
        return [self._record(trial) for trial in trials if trial.state.is_finished()]

    def running(self) -> set[int]:
        """Return the numbers of the trials that a run has begun and not ended."""
        from optuna.trial import TrialState

        return {trial.number for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}

    def resume(self, number: int) -> tuple[Trial, int]:
        """Return a trial that a run has begun and not ended, and the last step that it reported, -1 for none.

        The trial keeps its number and the parameters that it has.
        """
        from optuna import Trial

        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
        last_step = self.study.get_trials(deepcopy=False)[number].last_step
        return Trial(self.study, trial_id), -1 if last_step is None else last_step

    @property
    def baseline(self) -> Baseline | None:
        """The baseline's scores; None before it is scored."""
        stored = self.study.user_attrs.get(_BASELINE)
        return None if stored is None else Baseline.model_validate(stored)

    def store_baseline(self, baseline: Baseline) -> None:
        """Store the baseline's scores."""
        self.study.set_user_attr(_BASELINE, baseline.model_dump(mode="json"))

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        return TrialRecord(
            number=trial.number,
            state={"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed"),
            value=trial.values[0] if trial.values else None,
            folds=trial.user_attrs.get(FOLDS, ()),
            values=values_of_trial(self.search, trial),
            reason=trial.user_attrs.get(REASON, ""),
            began=_timestamp(trial.datetime_start),
            ended=_timestamp(trial.datetime_complete),
        )


@contextmanager
def open_study(settings: Settings, config: TuningConfig, data_version: str) -> Iterator[StoredStudy]:
    """Open a config's study for the duration of a block, and create it where it does not exist.

    Raises
    ------
    ConfigError: a study of this name has another identity.
    StateError: the database cannot be used, or another process has ended a trial of this one.
    """
    from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
    from sqlalchemy.exc import SQLAlchemyError

    place = without_password(settings.study_store)
    storage = _open_storage(settings, place)
    try:
        with without_experimental_warnings():
            yield StoredStudy(_load(storage, config, data_version, place), place, config.search, storage)
    except UpdateFinishedTrialError:
        raise written_by_another(study_name(config, data_version)) from None
    except (StorageInternalError, SQLAlchemyError) as error:
        raise StateError(
            f"the studies in {place} cannot be used: {one_line(error.__cause__ or error)};"
            " run the same command again, the study continues"
        ) from None
    finally:
        storage.remove_session()
        storage.engine.dispose()


def written_by_another(name: str) -> StateError:
    """Return the error for a study that another process has changed meanwhile."""
    return StateError(f"another process has written to the study {name!r}: run the same command again")


def _load(storage: RDBStorage, config: TuningConfig, data_version: str, place: str) -> Study:
    import optuna

    study = optuna.create_study(
        study_name=study_name(config, data_version),
        storage=storage,
        direction="minimize" if config.evaluate.primary_metric in LOSSES else "maximize",
        pruner=pruner_for(config.search),
        load_if_exists=True,
    )
    wanted = json.loads(json.dumps(identity(config, data_version)))
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_IDENTITY, wanted)
    elif stored != wanted:
        differs = [key for key, value in wanted.items() if stored is None or stored.get(key) != value]
        raise ConfigError(
            f"search.study: {study.study_name!r} exists in {place} with another {' and '.join(differs)}:"
            " give the study another name, or none"
        )
    return study


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0


def _open_storage(settings: Settings, place: str) -> RDBStorage:
    import sqlalchemy as sa
    from optuna import logging
    from optuna.storages import RDBStorage

    url, timeout = settings.study_store, settings.store_timeout
    is_sqlite = url.startswith("sqlite")
    if is_sqlite:
        prepare_home(settings)
    logging.set_verbosity(logging.ERROR)
    arguments = {"connect_args": {"timeout": timeout}} if is_sqlite else {}
    try:
        _refuse_other_tables(sa.create_engine(url, **arguments), place)
        storage = RDBStorage(url, engine_kwargs=arguments)
        if is_sqlite:
            _commit_without_sync(storage.engine, timeout)
    except (sa.exc.SQLAlchemyError, RuntimeError, ValueError, ImportError) as error:
        raise StateError(f"the studies in {place} cannot be used: {one_line(error)}") from None
    return storage


def _commit_without_sync(engine: Any, timeout: float) -> None:
    """Let SQLite commit to its write-ahead log without an fsync.

    A killed process loses nothing. A power failure can lose the last trials, and the next run repeats them.
    """
    import sqlalchemy as sa

    def prepare(connection: Any, _record: Any) -> None:
        write_ahead(connection, timeout)
        connection.execute("PRAGMA synchronous=NORMAL")

    sa.event.listen(engine, "connect", prepare)
    engine.dispose()


def _refuse_other_tables(engine: Any, place: str) -> None:
    """Refuse MLflow's database: both programs store their schema's version in a table ``alembic_version``."""
    import sqlalchemy as sa

    try:
        tables = set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "version_info" not in tables:
        raise StateError(
            f"{place} has tables of another program: set RATCHET_STUDY_URL to a database that holds studies only"
        )
