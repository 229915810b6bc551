"""What there is to say of a study: each of its trials, the best of them, and the baseline beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

State = Literal["complete", "pruned", "failed"]


class TrialRecord(BaseModel):
    """One trial that has ended.

    Attributes
    ----------
    number: from 0.
    value: the mean of its folds; of a pruned one, of the folds that it had.
    folds: the primary metric on each fold that was scored, in order.
    values: what it tried, by dotted path of the config.
    reason: why it failed.
    began, ended: Unix time in seconds.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    state: State
    value: float | None
    folds: tuple[float, ...] = ()
    values: dict[str, Any]
    reason: str = ""
    began: float
    ended: float


class Baseline(BaseModel):
    """The config's own values on the same folds.

    Attributes
    ----------
    trial: the trial that tried them; None where the space does not hold them, and they were scored beside it.
    note: why they are not in the space, or why they could not be scored.
    """

    model_config = ConfigDict(frozen=True)

    folds: tuple[float, ...] = ()
    trial: int | None = None
    note: str = ""

    @property
    def value(self) -> float | None:
        """The mean of the folds."""
        return statistics.fmean(self.folds) if self.folds else None


class StudySummary(BaseModel):
    """A study at the end of a run.

    Attributes
    ----------
    metric, minimise: what is measured, and whether less is better.
    trials: in the order of their numbers.
    wanted: how many trials there were to be.
    new: how many of them ended in this run.
    storage: where the study is, without a password.
    """

    model_config = ConfigDict(frozen=True)

    study: str
    model: str
    metric: str
    minimise: bool
    n_folds: int
    trials: tuple[TrialRecord, ...]
    wanted: int
    new: int
    baseline: Baseline
    storage: str
    engine: str
    seconds: float

    @property
    def best(self) -> TrialRecord:
        """The best complete trial; of equal ones the first."""
        return best_of(self.trials, minimise=self.minimise)

    def count(self, state: State) -> int:
        """How many trials ended so."""
        return sum(trial.state == state for trial in self.trials)


def best_of(trials: Sequence[TrialRecord], *, minimise: bool) -> TrialRecord:
    """The best complete trial; of equal ones the first, so that the baseline yields to what is better alone.

    Raises
    ------
    ValueError: none is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    sign = 1 if minimise else -1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))
