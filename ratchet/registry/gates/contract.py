"""What a check of the gate looks at, and how it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import TrainingConfig
from ratchet.model.evaluation import Evaluation
from ratchet.model.package.sealed_package import Package


class Check(BaseModel):
    """One figure beside its limit.

    Attributes
    ----------
    name: what was checked.
    figure: what was found, None where there is nothing to measure.
    limit: what was asked for, None where nothing was.
    passed: the verdict.
    reason: the verdict in words.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    figure: float | None
    limit: float | None
    passed: bool
    reason: str


@dataclass(frozen=True)
class Trial:
    """All that the checks look at.

    Attributes
    ----------
    config: what was asked for.
    challenger: the package that wants in, as it comes back from the registry.
    champion: the package in Production; None where there is none.
    holdout: typed rows that the challenger was not fitted on, features and target.
    evaluation: the challenger's figures on them.
    n_reference: how many of them, the first, are of the reference, the others of production; None for all.
    anchor: the newest version before the champion that learned from the reference alone; None where the champion did.
    """

    config: TrainingConfig
    challenger: Package
    champion: Package | None
    holdout: pd.DataFrame
    evaluation: Evaluation
    n_reference: int | None = None
    anchor: Package | None = None


class GateCheck(Protocol):
    """One thing that is asked of a challenger."""

    name: str

    def judge(self, trial: Trial) -> Check:
        """Measure and decide; a ``RatchetError`` counts as a failure with its message as the reason."""
        ...
