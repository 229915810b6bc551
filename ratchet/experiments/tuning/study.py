"""A study from its first trial to its last: begun, or taken up where it was left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from ratchet.config import LOSSES, TrainingConfig
from ratchet.config.tuning import TuningConfig
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, RatchetError, TrainingError, one_line
from ratchet.experiments.tuning.engine import Engine
from ratchet.experiments.tuning.engines import MOST_ATTEMPTS, open_engine
from ratchet.experiments.tuning.proposals import Mirror, Rules, most_trials, proposes_baseline, values_of_trial
from ratchet.experiments.tuning.scoring import FoldScore, Score, fold_rows, score_fold
from ratchet.experiments.tuning.space import config_with, values_of
from ratchet.experiments.tuning.study_storage import StudyBook, mean
from ratchet.experiments.tuning.summary import Baseline, State, StudySummary, TrialRecord
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import open_store
from ratchet.store.failpoints import failpoint

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

Listener = Callable[[TrialRecord], None]
# Seconds until the study of a process that died may be taken up on another machine; on the same one it may be at once.
LEASE = 30.0
# Seconds without a fold's end until the engine is asked whether there is still somebody to fit one.
_LOOK = 2.0
# What says that these values cannot be fitted, or not on these rows; anything else is a bug and ends the study.
_REFUSALS = (RatchetError, ValueError, ArithmeticError, MemoryError)


@dataclass
class _Trial:
    """A trial under way."""

    frozen: FrozenTrial
    config: TrainingConfig
    mirror: Mirror
    scores: dict[int, float] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    done: list[float] = field(default_factory=list)


def run_study(
    config: TuningConfig,
    rows: pd.DataFrame,
    schema: Schema,
    data_version: str,
    settings: Settings,
    listener: Listener = lambda _: None,
    score: Score = score_fold,
) -> StudySummary:
    """Make the trials that a study lacks.

    Parameters
    ----------
    config: what to search, and how.
    rows: the training rows, features and target; the holdout is not for a study to see.
    schema: which column is what.
    data_version: the content hash of the data set.
    settings: where studies are kept.
    listener: told of every trial of the study, in no certain order; of those that ended in earlier runs first.
    score: fits and scores a fold; has to be pure.

    Raises
    ------
    ConfigError: the study is of another space; or not one of its trials could be fitted.
    DataError: too few rows for so many folds.
    StateError: somebody else is at work on the study, or its storage cannot be used.
    UnavailableError: the Dask cluster is not there, or is gone.
    """
    begun = time.monotonic()
    data = fold_rows(config, rows, schema, config.search.folds)
    with ExitStack() as stack:
        book = StudyBook(settings, config, data_version)
        stack.callback(book.close)
        stack.enter_context(leases.held(open_store(settings), f"study/{book.name}", LEASE, wait=0.0, renewed=True))
        known = [book.record(trial) for trial in book.trials() if trial.state.is_finished()]
        for record in known:
            listener(record)
        run = _Run(config, book, open_engine(config.compute, data, score), listener)
        if len(known) < run.wanted or book.baseline is None:
            with book.in_use(), run.engine:
                run.to_the_end(begun)
        trials = tuple(book.record(trial) for trial in book.trials() if trial.state.is_finished())
        _require_one(trials)
        return StudySummary(
            study=book.name,
            model=config.model,
            metric=config.evaluate.primary_metric,
            minimise=run.minimise,
            n_folds=config.search.folds,
            trials=trials,
            wanted=run.wanted,
            new=len(trials) - len(known),
            baseline=book.baseline or Baseline(),
            storage=book.place,
            engine=config.compute.engine,
            seconds=time.monotonic() - begun,
        )


class _Run:
    """The trials of one run: batch after batch, each proposed together and evaluated side by side."""

    def __init__(self, config: TuningConfig, book: StudyBook, engine: Engine, listener: Listener) -> None:
        self.config, self.book, self.engine, self._listener = config, book, engine, listener
        self._base, search = config.base(), config.search
        self.minimise = config.evaluate.primary_metric in LOSSES
        self._rules = Rules(book.name, search, config.seed, self.minimise)
        self._own, self._why_not = values_of(config)
        if self._own is not None and not proposes_baseline(search):
            self._own, self._why_not = None, "a grid has its own points"
        self._at_once = search.folds if search.pruner.name == "none" else 1
        self.wanted = most_trials(search)
        self._futures: dict[Future[FoldScore], tuple[_Trial, int]] = {}

    def to_the_end(self, begun: float) -> None:
        """Make batches until there is nothing left to do, or no time; the baseline goes first."""
        if self._own is None and self.book.baseline is None:
            self.book.keep_baseline(self._score_baseline())
        for start in range(0, self.wanted, self.config.batch):
            numbers = range(start, min(start + self.config.batch, self.wanted))
            settled = self.book.trials()
            if all(number < len(settled) and settled[number].state.is_finished() for number in numbers):
                continue
            timeout = self.config.search.timeout
            if timeout is not None and time.monotonic() - begun >= timeout:
                logger.warning("search.timeout: %g s are over, %d of %d trials", timeout, start, self.wanted)
                return
            self._make_batch(numbers, settled)

    def _make_batch(self, numbers: range, known: Sequence[FrozenTrial]) -> None:
        """Propose all, write all down, then evaluate: what is proposed must not depend on who is quick."""
        under_way: list[_Trial] = []
        siblings: list[FrozenTrial] = []
        for number in numbers:
            mirror = Mirror(self._rules, known[: numbers.start], siblings)
            if number < len(known):  # of a run that was killed
                frozen = known[number]
                mirror.propose(values_of_trial(self.config.search, frozen))
            else:
                frozen = self.book.begin(mirror.propose(self._own if number == 0 else None))
            siblings.append(frozen)
            if not frozen.state.is_finished():
                under_way += self._begun(frozen, mirror)
        failpoint("after_proposals")
        for trial in under_way:
            for fold in range(self._at_once):
                self._submit(trial, fold)
        self._wait()

    def _begun(self, frozen: FrozenTrial, mirror: Mirror) -> list[_Trial]:
        try:
            config = config_with(self._base, values_of_trial(self.config.search, frozen))
        except RatchetError as error:
            self._end(_Trial(frozen, self._base, mirror), "failed", str(error))
            return []
        return [_Trial(frozen, config, mirror)]

    def _submit(self, trial: _Trial, fold: int) -> None:
        self._futures[self.engine.submit(trial.config, fold)] = (trial, fold)

    def _wait(self) -> None:
        while self._futures:
            ready, _ = wait(self._futures, timeout=_LOOK, return_when=FIRST_COMPLETED)
            if not ready:
                self.engine.check()
            for future in ready:
                if future in self._futures:  # not of a trial that has ended by now
                    trial, fold = self._futures.pop(future)
                    self._take(trial, fold, future)

    def _take(self, trial: _Trial, fold: int, future: Future[FoldScore]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or (error is not None and self.engine.is_lost(error)):
            trial.attempts[fold] = trial.attempts.get(fold, 1) + 1
            if trial.attempts[fold] <= MOST_ATTEMPTS:
                self._submit(trial, fold)
                return
            error = TrainingError(f"its worker died {MOST_ATTEMPTS} times")
        if error is None:
            trial.scores[fold] = future.result().value
            self._go_on(trial)
        elif isinstance(error, _REFUSALS) or type(error).__name__ == "KilledWorker":
            self._end(trial, "failed", f"fold {fold + 1}: {one_line(error)}")
        else:
            raise error

    def _go_on(self, trial: _Trial) -> None:
        """Report the folds that follow each other so far, and end the trial or begin its next fold."""
        folds = self.config.search.folds
        while len(trial.done) in trial.scores:
            step = len(trial.done)
            trial.done.append(trial.scores[step])
            so_far = mean(trial.done)
            self.book.report(trial.frozen, step, so_far)
            if len(trial.done) == folds:
                self._end(trial, "complete")
            elif trial.mirror.prunes(step, so_far):
                self._end(trial, "pruned")
                return
            elif self._at_once == 1:
                self._submit(trial, step + 1)

    def _end(self, trial: _Trial, state: State, reason: str = "") -> None:
        for future in [future for future, (other, _) in self._futures.items() if other is trial]:
            self._futures.pop(future)
            future.cancel()
        record = self.book.end(trial.frozen, state, trial.done, trial.mirror.notes, reason)
        if self._own is not None and record.number == 0:
            self.book.keep_baseline(Baseline(folds=record.folds, trial=0, note=reason))
        if reason:
            logger.warning("trial %d failed: %s", record.number, reason)
        self._listener(record)
        failpoint(f"after_trial_{record.number}")

    def _score_baseline(self) -> Baseline:
        begun = [self.engine.submit(self._base, fold) for fold in range(self.config.search.folds)]
        try:
            folds = tuple(self._result(future, fold).value for fold, future in enumerate(begun))
        except _REFUSALS as error:
            return Baseline(note=f"{self._why_not}, and by itself: {one_line(error)}")
        return Baseline(folds=folds, note=self._why_not)

    def _result(self, future: Future[FoldScore], fold: int) -> FoldScore:
        for _ in range(MOST_ATTEMPTS - 1):
            error = future.exception()
            if error is None or not self.engine.is_lost(error):
                break
            future = self.engine.submit(self._base, fold)
        return future.result()


def _require_one(trials: Sequence[TrialRecord]) -> None:
    if not any(trial.state == "complete" for trial in trials):
        reasons = _counted([trial.reason for trial in trials if trial.reason])
        said = "; ".join(f"{reason} ({times} of {len(trials)})" for reason, times in list(reasons.items())[:2])
        raise ConfigError(f"search: no trial came to its end: {said or 'search.timeout was over before the first'}")


def _counted(reasons: Sequence[str]) -> Mapping[str, int]:
    counts: dict[str, Any] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
