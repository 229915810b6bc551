"""A study as it is kept: in SQLite or PostgreSQL, in Optuna's own tables, which its dashboard can read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ratchet.config import LOSSES
from ratchet.config.tuning import TuningConfig, chosen_in_order
from ratchet.errors import ConfigError, StateError, one_line
from ratchet.experiments.tuning.proposals import values_of_trial
from ratchet.experiments.tuning.summary import Baseline, State, TrialRecord
from ratchet.settings import Settings, prepare_home, without_password
from ratchet.store.sqlite import write_ahead

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_IDENTITY = "ratchet.identity"
_FOLDS, _REASON, _BASELINE = "ratchet.folds", "ratchet.reason", "ratchet.baseline"


def identity(config: TuningConfig, data_version: str) -> dict[str, Any]:
    """All that makes a study's trials what they are; with another of these it is another study.

    How many trials there are to be, for how long, and where they are fitted is not part of it.
    """
    base = config.base().model_dump(mode="json", exclude_defaults=True)
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
    """The study's name: the config's, else the model and 12 hex digits of what makes its trials what they are."""
    if config.search.study is not None:
        return config.search.study
    canonical = json.dumps(identity(config, data_version), sort_keys=True, separators=(",", ":"))
    return f"{config.model}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


class StudyBook:
    """One study on its storage: what has ended stays, what has begun can be taken up again.

    Parameters
    ----------
    settings: where the storage is.
    config, data_version: what the study is of.

    Raises
    ------
    ConfigError: a study of this name searches another space, or other data, or from another baseline.
    StateError: the storage cannot be used.
    """

    def __init__(self, settings: Settings, config: TuningConfig, data_version: str) -> None:
        self.place = without_password(settings.study_store)
        self.name = study_name(config, data_version)
        self._search = config.search
        self._storage = _open_storage(settings)
        self._id = self._find(identity(config, data_version), config.evaluate.primary_metric in LOSSES)

    def trials(self) -> list[FrozenTrial]:
        """All trials in the order of their numbers, ended or not."""
        return self._storage.get_all_trials(self._id, deepcopy=True)

    def begin(self, trial: FrozenTrial) -> FrozenTrial:
        """Write down that a trial has begun, with its parameters: one transaction."""
        number = len(self.trials())
        if number != trial.number:
            raise StateError(f"somebody else has written to the study {self.name!r}: run the same command again")
        return self._storage.get_trial(self._storage.create_new_trial(self._id, template_trial=trial))

    def report(self, trial: FrozenTrial, step: int, value: float) -> None:
        """Write down a trial's value after a fold; the same again changes nothing."""
        self._storage.set_trial_intermediate_value(trial._trial_id, step, value)

    def end(
        self, trial: FrozenTrial, state: State, folds: Sequence[float], notes: dict[str, Any], reason: str = ""
    ) -> TrialRecord:
        """Write down how a trial has ended; its value is that of its last report."""
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        self._storage.set_trial_user_attr(trial._trial_id, _FOLDS, list(folds))
        if reason:
            self._storage.set_trial_user_attr(trial._trial_id, _REASON, reason[:2000])
        for key in notes.keys() - trial.system_attrs.keys() - {"fixed_params"}:
            self._storage.set_trial_system_attr(trial._trial_id, key, notes[key])
        value = mean(folds) if state != "failed" and folds else None
        self._storage.set_trial_state_values(trial._trial_id, states[state], None if value is None else [value])
        return self.record(self._storage.get_trial(trial._trial_id))

    def record(self, trial: FrozenTrial) -> TrialRecord:
        """A trial that has ended, as the rest of the project knows it."""
        return TrialRecord(
            number=trial.number,
            state={"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed"),
            value=trial.values[0] if trial.values else None,
            folds=trial.user_attrs.get(_FOLDS, ()),
            values=values_of_trial(self._search, trial),
            reason=trial.user_attrs.get(_REASON, ""),
            began=_timestamp(trial.datetime_start),
            ended=_timestamp(trial.datetime_complete),
        )

    @property
    def baseline(self) -> Baseline | None:
        """The baseline as it was scored; None where it was not yet."""
        found = self._storage.get_study_user_attrs(self._id).get(_BASELINE)
        return None if found is None else Baseline.model_validate(found)

    def keep_baseline(self, baseline: Baseline) -> None:
        """Write the baseline down."""
        self._storage.set_study_user_attr(self._id, _BASELINE, baseline.model_dump(mode="json"))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """For the time in which trials are written down.

        Raises
        ------
        StateError: the database went away in the middle, or somebody else has ended a trial of this process.
        """
        from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except UpdateFinishedTrialError:
            raise StateError(
                f"somebody else has written to the study {self.name!r}: run the same command again"
            ) from None
        except (StorageInternalError, SQLAlchemyError) as error:
            said = one_line(error.__cause__ or error)
            raise StateError(
                f"the studies in {self.place} cannot be used: {said}; run the same command again, the study goes on"
            ) from None

    def close(self) -> None:
        """Let go of the database."""
        self._storage.remove_session()
        engine = getattr(getattr(self._storage, "_backend", self._storage), "engine", None)
        if engine is not None:
            engine.dispose()

    def _find(self, made_of: dict[str, Any], minimise: bool) -> int:
        from optuna.exceptions import DuplicatedStudyError
        from optuna.study import StudyDirection

        direction = StudyDirection.MINIMIZE if minimise else StudyDirection.MAXIMIZE
        try:
            number = self._storage.create_new_study([direction], self.name)
        except DuplicatedStudyError:
            number = self._storage.get_study_id_from_name(self.name)
        known = self._storage.get_study_user_attrs(number).get(_IDENTITY)
        if known is None and not self._storage.get_all_trials(number, deepcopy=False):
            self._storage.set_study_user_attr(number, _IDENTITY, made_of)
        elif known != json.loads(json.dumps(made_of)):
            differs = [
                key for key in made_of if known is None or known.get(key) != json.loads(json.dumps(made_of[key]))
            ]
            raise ConfigError(
                f"search.study: {self.name!r} exists in {self.place} with another {' and '.join(differs)}:"
                " give the study another name, or none"
            )
        return number


def mean(folds: Sequence[float]) -> float:
    """The mean of some folds; the same to the last bit wherever it is taken."""
    return math.fsum(folds) / len(folds)


def _open_storage(settings: Settings) -> BaseStorage:
    import sqlalchemy as sa
    from optuna import logging
    from optuna.storages import RDBStorage, get_storage

    url = settings.study_store
    place = without_password(url)
    if url.startswith("sqlite"):
        prepare_home(settings)
    logging.set_verbosity(logging.ERROR)
    arguments = {"connect_args": {"timeout": settings.store_timeout}} if url.startswith("sqlite") else {}
    try:
        _refuse_what_others_own(sa.create_engine(url, **arguments), place)
        storage = RDBStorage(url, engine_kwargs=arguments)
        if url.startswith("sqlite"):
            _spare_the_disk(storage.engine, settings.store_timeout)
        return get_storage(storage)
    except (sa.exc.SQLAlchemyError, RuntimeError, ValueError, ImportError) as error:
        raise StateError(f"the studies in {place} cannot be used: {one_line(error)}") from None


def _spare_the_disk(engine: Any, timeout: float) -> None:
    """Commit to SQLite's log without waiting for the disk: a killed process loses nothing by it.

    A power cut may lose the last trials, which are then made again, and are the same.
    """
    import sqlalchemy as sa

    def prepare(connection: Any, _record: Any) -> None:
        write_ahead(connection, timeout)
        connection.execute("PRAGMA synchronous=NORMAL")

    sa.event.listen(engine, "connect", prepare)
    engine.dispose()


def _refuse_what_others_own(engine: Any, place: str) -> None:
    """Optuna and MLflow both keep their version in a table ``alembic_version``, and one would find the other's."""
    import sqlalchemy as sa

    try:
        tables = set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "version_info" not in tables:
        raise StateError(
            f"{place} has tables of another program: give RATCHET_STUDY_URL a database that studies have to themselves"
        )


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
