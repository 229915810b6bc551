"""The input of the gate's checks, and their result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import TrainingConfig
from ratchet.data.row_identities import RowIdentities
from ratchet.model.evaluation import Evaluation
from ratchet.model.package.sealed_package import Package


class Check(BaseModel):
    """The result of one check.

    Attributes
    ----------
    figure: the measured value; None if nothing was measured.
    limit: the limit of the figure; None if there is none.
    tried: the number of challengers that were tried on the same rows, with this one; None if it does not matter.
    level: the level of a test, which depends on that number; None if there is no test.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    figure: float | None
    limit: float | None
    passed: bool
    reason: str
    tried: int | None = None
    level: float | None = None


@dataclass(frozen=True)
class GateInput:
    """The input of all checks.

    Attributes
    ----------
    challenger: the challenger's package, as loaded from the registry.
    champion: the package in Production; None if there is none.
    holdout, identities: typed rows that the challenger was not fitted on, features and target, and their identities.
    n_reference: the number of holdout rows, the first ones, that come from the reference data set, where the others
        come from production; None for all.
    label_bias: why the production rows of the holdout are no evidence, since the chance of their labels depends on the
        answer; None if they are evidence.
    tried: the number of challengers that were tried on the rows new to both, with this one.
    anchor: the newest version before the champion that was trained on the reference alone; None if the champion was.
    """

    config: TrainingConfig
    challenger: Package
    champion: Package | None
    holdout: pd.DataFrame
    identities: RowIdentities
    evaluation: Evaluation
    n_reference: int | None = None
    anchor: Package | None = None
    label_bias: str | None = None
    tried: int = 1


class Result(NamedTuple):
    """The result of a check without its name; the fields are those of ``Check``."""

    passed: bool
    reason: str
    figure: float | None = None
    limit: float | None = None
    tried: int | None = None
    level: float | None = None


# One requirement on a challenger; the function's name is the check's name.
GateCheck = Callable[[GateInput], Result]
