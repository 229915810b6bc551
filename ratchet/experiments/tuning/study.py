"""A study from its first trial to its last: started, or continued where it stopped."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.config import LOSSES, TrainingConfig
from ratchet.config.tuning import TuningConfig
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, RatchetError
from ratchet.experiments.tuning.fold_workers import ScoreFolds, fold_workers
from ratchet.experiments.tuning.samplers import most_trials, proposes_baseline, sampler_factory, suggest, to_optuna
from ratchet.experiments.tuning.scoring import FoldFailure, FoldResult, Score, fold_rows, score_fold
from ratchet.experiments.tuning.space import Values, choose, config_with, values_of
from ratchet.experiments.tuning.study_storage import FOLDS, REASON, StoredStudy, open_study, written_by_another
from ratchet.experiments.tuning.summary import Baseline, State, StudySummary, TrialRecord
from ratchet.experiments.tuning.trial_events import Listener
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import open_store
from ratchet.store.failpoints import failpoint

if TYPE_CHECKING:
    from optuna import Trial

logger = logging.getLogger(__name__)

# Seconds until another machine can continue the study of a process that died; the same machine can at once.
LEASE = 30.0


@dataclass
class _RunningTrial:
    """A trial of the present batch, and its scores so far."""

    trial: Trial
    values: Values
    config: TrainingConfig
    last_reported: int  # the last step that a killed run has reported; -1 for none
    folds: list[float] = field(default_factory=list)


def run_study(
    config: TuningConfig,
    rows: pd.DataFrame,
    schema: Schema,
    data_version: str,
    settings: Settings,
    listener: Listener = lambda _: None,
    score: Score = score_fold,
) -> StudySummary:
    """Run the trials that a study lacks.

    Parameters
    ----------
    rows: the training rows, features and target, without the holdout.
    data_version: the content hash of the data set.
    listener: called with every trial of the study, with those of earlier runs first.
    score: fits and scores a fold; has to be a pure function.

    Raises
    ------
    ConfigError: the study's name belongs to another study, or no trial could be fitted.
    DataError: too few rows for this number of folds.
    StateError: another process runs the study, or its database cannot be used.
    UnavailableError: the Dask cluster cannot be reached, or has lost its scheduler or all its workers.
    """
    started = time.monotonic()
    data = fold_rows(config, rows, schema, config.search.folds)
    with (
        open_study(settings, config, data_version) as stored,
        leases.held(open_store(settings), f"study/{stored.study.study_name}", LEASE, wait=0.0, renewed=True),
    ):
        known = stored.ended()
        for record in known:
            listener(record)
        run = _StudyRun(config, stored, listener, ended={record.number for record in known})
        if run.is_incomplete():
            with fold_workers(config.compute, data, score) as score_folds:
                run.complete(score_folds, started)
        return _summarise(config, stored, run, len(known), time.monotonic() - started)


def _summarise(config: TuningConfig, stored: StoredStudy, run: _StudyRun, n_known: int, seconds: float) -> StudySummary:
    trials = tuple(stored.ended())
    _require_complete_trial(trials)
    return StudySummary(
        study=stored.study.study_name,
        model=config.model,
        metric=config.evaluate.primary_metric,
        minimise=config.evaluate.primary_metric in LOSSES,
        n_folds=config.search.folds,
        trials=trials,
        wanted=run.wanted,
        new=len(trials) - n_known,
        baseline=run.baseline(trials[0]),
        storage=stored.place,
        engine=config.compute.engine,
        seconds=seconds,
    )


class _StudyRun:
    """The trials of one run, batch by batch.

    Trials of a batch are proposed one after the other and scored together, and their scores are reported in the order
    of their numbers. So trials and prunings are the same for any number of workers.
    """

    def __init__(self, config: TuningConfig, stored: StoredStudy, listener: Listener, ended: set[int]) -> None:
        self._config, self._search, self._stored, self._listener = config, config.search, stored, listener
        self._base, self._study, self._ended = config.base(), stored.study, ended
        self._unfinished = stored.running()
        self._sampler = sampler_factory(config.search, config.seed)
        self._own_values, self._why_outside = values_of(config)
        if self._own_values is not None and not proposes_baseline(config.search):
            self._own_values, self._why_outside = None, "a grid has its own points"
        self.wanted = most_trials(config.search)

    def baseline(self, first: TrialRecord) -> Baseline:
        """Return the baseline: the first trial, or the scores of the config's own values outside of the space."""
        if self._own_values is None:
            return self._stored.baseline or Baseline()
        return Baseline(folds=first.folds, trial=0, note=first.reason)

    def is_incomplete(self) -> bool:
        """Return whether a trial or the baseline is missing."""
        return not self._ended.issuperset(range(self.wanted)) or self._lacks_baseline

    @property
    def _lacks_baseline(self) -> bool:
        return self._own_values is None and self._stored.baseline is None

    def complete(self, score_folds: ScoreFolds, started: float) -> None:
        """Run the missing batches until the time limit; score a baseline outside of the space before them."""
        if self._lacks_baseline:
            self._stored.store_baseline(self._score_baseline(score_folds))
        for first in range(0, self.wanted, self._config.batch):
            numbers = range(first, min(first + self._config.batch, self.wanted))
            missing = [number for number in numbers if number not in self._ended]
            if not missing:
                continue
            if self._search.timeout is not None and time.monotonic() - started >= self._search.timeout:
                return
            self._run_batch(missing, score_folds)

    def _run_batch(self, numbers: Sequence[int], score_folds: ScoreFolds) -> None:
        active = [trial for number in numbers if (trial := self._begin(number)) is not None]
        failpoint("after_proposals")
        for steps in self._steps():
            if not active:
                return
            results = score_folds([(trial.config, step) for trial in active for step in steps])
            found = [results[at : at + len(steps)] for at in range(0, len(results), len(steps))]
            active = [trial for trial, scores in zip(active, found, strict=True) if self._continues(trial, scores)]

    def _steps(self) -> list[range]:
        """Return the folds to score together: one at a time where a pruner decides after each."""
        n_folds = self._search.folds
        if self._search.pruner.name == "none":
            return [range(n_folds)]
        return [range(fold, fold + 1) for fold in range(n_folds)]

    def _begin(self, number: int) -> _RunningTrial | None:
        """Begin a trial or resume one that a killed run has left; return None where its values are no valid config."""
        if number == 0 and self._own_values is not None and not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial({path: to_optuna(value) for path, value in self._own_values.items()})
        self._study.sampler = self._sampler(number)
        trial, last_step = self._stored.resume(number) if number in self._unfinished else (self._study.ask(), -1)
        if trial.number != number:
            raise written_by_another(self._study.study_name)
        values = choose(self._search.space, partial(suggest, trial))
        try:
            return _RunningTrial(trial, values, config_with(self._base, values), last_step)
        except RatchetError as error:
            self._end(_RunningTrial(trial, values, self._base, last_step), "failed", str(error))
            return None

    def _continues(self, running: _RunningTrial, results: Sequence[FoldResult]) -> bool:
        """Report a trial's new scores; end it where a fold failed, all are scored, or the pruner stops it."""
        folds = running.folds
        for result in results:
            step = len(folds)
            if isinstance(result, FoldFailure):
                self._end(running, "failed", f"fold {step + 1}: {result.reason}")
                return False
            folds.append(result)
            if step > running.last_reported:
                running.trial.report(fmean(folds), step)
        if len(folds) == self._search.folds:
            self._end(running, "complete")
            return False
        if step >= running.last_reported and running.trial.should_prune():  # at earlier steps it has not been pruned
            self._end(running, "pruned")
            return False
        return True

    def _end(self, running: _RunningTrial, state: State, reason: str = "") -> None:
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        trial, reason = running.trial, reason[:2000]
        record = TrialRecord(
            number=trial.number,
            state=state,
            value=None if state == "failed" else fmean(running.folds),
            folds=tuple(running.folds),
            values=running.values,
            reason=reason,
            began=trial.datetime_start.timestamp() if trial.datetime_start else 0.0,
            ended=time.time(),
        )
        trial.set_user_attr(FOLDS, running.folds)
        if reason:
            trial.set_user_attr(REASON, reason)
            logger.warning("trial %d failed: %s", trial.number, reason)
        # Optuna gives a pruned trial its last reported value.
        self._study.tell(trial, record.value if state == "complete" else None, state=states[state])
        self._listener(record)
        failpoint(f"after_trial_{trial.number}")

    def _score_baseline(self, score_folds: ScoreFolds) -> Baseline:
        folds: list[float] = []
        for result in score_folds([(self._base, fold) for fold in range(self._search.folds)]):
            if isinstance(result, FoldFailure):
                return Baseline(note=f"{self._why_outside}, and it cannot be scored: {result.reason}")
            folds.append(result)
        return Baseline(folds=tuple(folds), note=self._why_outside)


def _require_complete_trial(trials: Sequence[TrialRecord]) -> None:
    if any(trial.state == "complete" for trial in trials):
        return
    reasons = Counter(trial.reason for trial in trials if trial.reason).most_common(2)
    listed = "; ".join(f"{reason} ({times} of {len(trials)})" for reason, times in reasons)
    raise ConfigError(f"search: no trial was completed: {listed or 'search.timeout ended before the first trial'}")
