"""The results of a study: its trials, the best of them, and the baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ratchet.config.plain_values import AnyValue

State = Literal["complete", "pruned", "failed"]


class TrialRecord(BaseModel):
    """One trial that has ended.

    Attributes
    ----------
    number: from 0.
    value: the mean of the folds that were scored; None for a failed trial.
    folds: the primary metric on each fold that was scored, in order.
    values: its parameters, by dotted path of the config.
    reason: why it failed.
    began, ended: Unix time in seconds.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    state: State
    value: float | None
    folds: tuple[float, ...] = ()
    values: dict[str, AnyValue]
    reason: str = ""
    began: float
    ended: float


class Baseline(BaseModel):
    """The config's own values on the same folds.

    Attributes
    ----------
    trial: the trial with these values; None where the space does not contain them, and they are scored in addition.
    note: why they are not in the space, or why they cannot be scored.
    """

    model_config = ConfigDict(frozen=True)

    folds: tuple[float, ...] = ()
    trial: int | None = None
    note: str = ""

    @property
    def value(self) -> float | None:
        """The mean of the folds; None without a scored fold."""
        return statistics.fmean(self.folds) if self.folds else None


class StudySummary(BaseModel):
    """A study at the end of a run.

    Attributes
    ----------
    metric, minimise: the primary metric, and whether less is better.
    trials: in the order of their numbers.
    wanted: the number of trials that the config asks for.
    new: the number of trials that ended in this run.
    storage: the URL of the study's database, without a password.
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
        """Return the number of trials that ended in a state."""
        return sum(trial.state == state for trial in self.trials)


def best_of(trials: Sequence[TrialRecord], *, minimise: bool) -> TrialRecord:
    """Return the best complete trial; of equal ones the first, so that only a better trial replaces the baseline.

    Raises
    ------
    ValueError: none is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    sign = 1 if minimise else -1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))
