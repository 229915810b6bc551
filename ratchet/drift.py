"""Whether new rows still look like those a model was trained on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Drift
from ratchet.profile import FeatureProfile, Profile, bin_counts

# Added to every bin's count, so that an empty bin gives a large figure and not an infinite one.
_PSEUDO_COUNT = 0.5


class DriftReport(BaseModel):
    """The verdict on some rows.

    Attributes
    ----------
    reference: the model version whose profile was the reference; None where there was none yet.
    figures: the drift figure of each feature.
    drifted: the features over the threshold.
    share: drifted features divided by all.
    detected: whether ``share`` reaches the config's limit.
    """

    model_config = ConfigDict(frozen=True)

    reference: str | None
    method: str
    figures: dict[str, float] = {}
    drifted: tuple[str, ...] = ()
    share: float = 0.0
    detected: bool = False

    @property
    def summary(self) -> str:
        """One line for a person."""
        if self.reference is None:
            return "no reference yet"
        verdict = "drift" if self.detected else "no drift"
        features = f"{len(self.drifted)} of {len(self.figures)} features over the limit"
        return f"{verdict} against version {self.reference}: {features}"


def compare(rows: pd.DataFrame, reference: Profile | None, config: Drift, version: str | None) -> DriftReport:
    """Compare rows with a model's reference profile.

    Parameters
    ----------
    rows: typed rows, shape (rows, >= features).
    reference: the champion's profile; None where there is no champion.
    config: the ``drift`` section.
    version: the champion's version, for the report.
    """
    if reference is None:
        return DriftReport(reference=None, method=config.method)
    shared = [feature for feature in reference.features if _comparable(rows, feature)]
    figures = {f.name: psi(np.array(f.counts), bin_counts(rows[f.name], f)) for f in shared}
    drifted = tuple(name for name, figure in figures.items() if figure > config.threshold)
    share = len(drifted) / len(figures) if figures else 0.0
    return DriftReport(
        reference=version,
        method=config.method,
        figures=figures,
        drifted=drifted,
        share=share,
        detected=share >= config.share,
    )


def _comparable(rows: pd.DataFrame, feature: FeatureProfile) -> bool:
    """Whether the rows have the feature, and as the type that it was."""
    if feature.name not in rows.columns:
        return False
    return pd.api.types.is_numeric_dtype(rows[feature.name]) == (feature.type == "number")


def psi(reference: npt.NDArray[np.int64], current: npt.NDArray[np.int64]) -> float:
    """The population stability index of two histograms on the same bins.

    ``sum((p - q) * ln(p / q))`` over the bins' shares p and q, the symmetrised Kullback–Leibler divergence
    (Siddiqi, Credit Risk Scorecards, 2006). 0 for equal shares; 0.1 and 0.2 are the customary limits.

    Parameters
    ----------
    reference, current: rows a bin, shape (bins,).
    """
    p = (reference + _PSEUDO_COUNT) / (reference + _PSEUDO_COUNT).sum()
    q = (current + _PSEUDO_COUNT) / (current + _PSEUDO_COUNT).sum()
    return float(np.sum((p - q) * np.log(p / q)))
