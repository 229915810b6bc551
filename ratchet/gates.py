"""What a challenger has to show before it may enter Production.

Every check is a small class that takes the same trial and answers with a figure, a limit and a verdict. All of
them run, also after one has failed, so that a refusal says everything at once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet import metrics
from ratchet.config import LOSSES, TrainingConfig
from ratchet.datasets import row_hashes
from ratchet.datasets.schema import Schema
from ratchet.errors import RatchetError
from ratchet.evaluation import Evaluation, resamples, score_rows
from ratchet.golden import TOLERANCE, golden_gap
from ratchet.onnx_export import PROBABILITY_TOLERANCE, check_parity, onnx_inputs, open_session
from ratchet.packaging import Package

# On fewer rows than this a comparison says nothing.
FEWEST_ROWS = 10
_LATENCY_CALLS = 30


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


class Floor:
    """The primary metric against the absolute floor of the config, or its ceiling for a loss."""

    name = "floor"

    def judge(self, trial: Trial) -> Check:
        """Compare the holdout's figure with the limit."""
        config, figure = trial.config.evaluate, trial.evaluation.primary
        loss = config.primary_metric in LOSSES
        limit = config.maximum if loss else config.minimum
        if limit is None:
            return Check(name=self.name, figure=figure, limit=None, passed=True, reason="the config sets no floor")
        passed = figure <= limit if loss else figure >= limit
        reason = f"{config.primary_metric} {figure:.4f}, needed at {'most' if loss else 'least'} {limit:g}"
        return Check(name=self.name, figure=figure, limit=limit, passed=passed, reason=reason)


class AgainstChampion:
    """The paired bootstrap interval of the difference to the champion, on rows that neither was fitted on."""

    name = "against_champion"

    def judge(self, trial: Trial) -> Check:
        """Ask that the whole interval lies above 0 (better) or above minus the margin (not worse)."""
        asked, metric = trial.config.promote, trial.config.evaluate.primary_metric
        if trial.champion is None:
            return self._check(None, None, True, "there is no champion yet")
        if asked.policy == "always":
            return self._check(None, None, True, "the policy is always")
        if _columns(trial.champion.schema) != _columns(trial.challenger.schema):
            reason = "the champion takes other columns: which rows it was fitted on cannot be told; promote by hand"
            return self._check(None, None, False, reason)
        rows = unseen_rows(trial.holdout, trial.challenger, trial.champion)
        if len(rows) < FEWEST_ROWS:
            reason = (
                f"{len(rows)} of {len(trial.holdout)} held-out rows are new to both models, {FEWEST_ROWS} are needed:"
                " train with the champion's seed and split, or bring new data"
            )
            return self._check(None, None, False, reason)
        mine, theirs = both_scores(trial, trial.champion, rows)
        low, high = paired_interval(metric, mine, theirs, asked.confidence, asked.bootstrap, trial.config.seed)
        if np.isnan(low):
            return self._check(None, None, False, f"{metric} is not defined on the {len(rows)} rows new to both")
        limit = -asked.margin if asked.policy == "not_worse" else 0.0
        reason = (
            f"{metric} {metrics.point(metric, mine):.4f}, the champion's {metrics.point(metric, theirs):.4f}:"
            f" better by {low:+.4f} to {high:+.4f} ({asked.confidence:.0%} interval, {len(rows)} rows new to both),"
            f" needed above {limit:g}"
        )
        return self._check(low, limit, low > limit, reason)

    def _check(self, figure: float | None, limit: float | None, passed: bool, reason: str) -> Check:
        return Check(name=self.name, figure=figure, limit=limit, passed=passed, reason=reason)


class ReferenceKept:
    """What production has taught must not cost too much of what was known before.

    Labels from production may be wrong, by mistake or on purpose, in the holdout as in the training rows; the
    reference is not theirs to overrule. Where the world has really turned, people change the reference.

    What counts is the newest version that learned from the reference alone, so that a little in each of many runs
    costs no more than the margin in all.
    """

    name = "reference_holdout"

    def judge(self, trial: Trial) -> Check:
        """Compare the challenger with that version on the rows of the reference alone."""
        margin, metric = trial.config.promote.reference_margin, trial.config.evaluate.primary_metric
        if trial.champion is None or trial.n_reference is None:
            return self._check(None, None, True, "there is no production data in this run")
        if margin is None:
            return self._check(None, None, True, "the config does not look at it (reference_margin: null)")
        before = _comparable_anchor(trial) or trial.champion
        rows = unseen_rows(trial.holdout.head(trial.n_reference), trial.challenger, before)
        if len(rows) < FEWEST_ROWS:
            reason = f"{len(rows)} rows of the reference are new to both models, {FEWEST_ROWS} are needed"
            return self._check(None, 0 - margin, False, reason)
        mine, theirs = (metrics.point(metric, scores) for scores in both_scores(trial, before, rows))
        change = theirs - mine if metric in LOSSES else mine - theirs
        if np.isnan(change):
            reason = f"{metric} is not defined on the {len(rows)} rows of the reference that are new to both models"
            return self._check(None, 0 - margin, False, reason)
        reason = (
            f"{metric} {mine:.4f} on {len(rows)} held-out rows of the reference,"
            f" {theirs:.4f} {'by the champion' if before is trial.champion else 'before production was learned from'}:"
            f" a change of {change:+.4f}, allowed down to {0 - margin:g}"
        )
        return self._check(change, 0 - margin, change >= -margin, reason)

    def _check(self, figure: float | None, limit: float | None, passed: bool, reason: str) -> Check:
        return Check(name=self.name, figure=figure, limit=limit, passed=passed, reason=reason)


class SignatureCompatible:
    """Whether what clients send to the champion suits the challenger."""

    name = "signature"

    def judge(self, trial: Trial) -> Check:
        """Count the differences that would break a client."""
        broken = incompatibilities(trial.champion.schema, trial.challenger.schema) if trial.champion else []
        reason = "; ".join(broken) or "clients need not change"
        return Check(name=self.name, figure=float(len(broken)), limit=0.0, passed=not broken, reason=reason)


class GoldenStable:
    """Whether the package, back from the registry, still says what the model said when it was made."""

    name = "golden"

    def judge(self, trial: Trial) -> Check:
        """Predict the golden rows again."""
        package = trial.challenger
        gap = golden_gap(package.model, package.golden, package.schema)
        reason = f"golden predictions differ by {gap:.2g} after a reload, allowed is {TOLERANCE:g}"
        return Check(name=self.name, figure=min(gap, 1e300), limit=TOLERANCE, passed=gap <= TOLERANCE, reason=reason)


class OnnxParity:
    """Whether the ONNX export, where there is one, agrees with scikit-learn on rows it was not checked on yet."""

    name = "onnx_parity"

    def judge(self, trial: Trial) -> Check:
        """Compare both on the holdout."""
        package = trial.challenger
        if package.onnx_path is None:
            return Check(name=self.name, figure=None, limit=None, passed=True, reason="there is no ONNX export")
        features = package.schema.select(trial.holdout)
        report = check_parity(package.onnx_path.read_bytes(), package.model, features, package.schema)
        reason = report.reason or f"differs by {report.max_difference or 0:.2g} at most"
        return Check(
            name=self.name,
            figure=report.max_difference,
            limit=PROBABILITY_TOLERANCE,
            passed=report.exported,
            reason=reason,
        )


class LatencyBudget:
    """The median time of one row, through ONNX where the service would take that."""

    name = "latency"

    def judge(self, trial: Trial) -> Check:
        """Time some single rows; the first, which warms up, does not count."""
        limit = trial.config.promote.latency_ms
        figure = _median_latency(trial.challenger, trial.holdout.head(1))
        reason = f"{figure:.3f} ms a row, allowed are {limit:g} ms"
        return Check(name=self.name, figure=figure, limit=limit, passed=figure <= limit, reason=reason)


CHECKS: tuple[GateCheck, ...] = (
    Floor(),
    AgainstChampion(),
    ReferenceKept(),
    SignatureCompatible(),
    GoldenStable(),
    OnnxParity(),
    LatencyBudget(),
)


def judge(trial: Trial, checks: Sequence[GateCheck] = CHECKS) -> tuple[Check, ...]:
    """The verdict of every check."""
    return tuple(_judged(check, trial) for check in checks)


def unseen_rows(holdout: pd.DataFrame, *packages: Package) -> pd.DataFrame:
    """The held-out rows that no package was fitted on.

    A package carries the hashes of its training rows, so this holds across runs, seeds and versions of the data: a
    row that a model was fitted on is recognised wherever it turns up, and left out, as long as the columns are the
    same; where they are not, ``AgainstChampion`` refuses to compare.
    """
    hashes = row_hashes(holdout)
    seen = np.zeros(len(holdout), dtype=bool)
    for package in packages:
        seen |= np.isin(hashes, package.training_rows)
    return holdout[~seen]


def both_scores(trial: Trial, champion: Package, rows: pd.DataFrame) -> tuple[metrics.Scores, metrics.Scores]:
    """The challenger's and the champion's predictions on the same rows, beside the truth."""
    schema = trial.challenger.schema
    mine = score_rows(trial.challenger.model, rows, schema)
    return mine, score_rows(champion.model, rows, _labelled_as(champion.schema, schema))


def paired_interval(
    name: str, mine: metrics.Scores, theirs: metrics.Scores, confidence: float, n_resamples: int, seed: int
) -> tuple[float, float]:
    """The percentile bootstrap interval of how much better one model is than another on the same rows.

    Each resample draws rows, and both models are scored on the same draw, so that what makes a row hard for both
    cancels out (Efron & Tibshirani 1993, chapter 13; Koehn 2004 for the paired form).

    Parameters
    ----------
    name: the metric.
    mine, theirs: predictions of both models beside the truth, on the same rows.
    confidence: such as 0.95, two-sided.
    n_resamples, seed: of the bootstrap.

    Returns
    -------
    The ends of the interval, in the metric's unit; positive is better, for a loss too. NaN where the metric is
    defined on no resample.
    """
    sign = -1.0 if name in LOSSES else 1.0
    differences: npt.NDArray[np.float64] = np.concatenate(
        [
            sign * (metrics.score(name, mine, weights) - metrics.score(name, theirs, weights))
            for weights in resamples(len(mine), n_resamples, seed)
        ]
    )
    if np.isnan(differences).all():
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(differences, [tail, 1 - tail])
    return float(low), float(high)


def incompatibilities(before: Schema, after: Schema) -> list[str]:
    """What would break a client that sends what the first schema asks for and reads its labels."""
    known, broken = {field.name: field for field in before.features}, []
    for field in after.features:
        old = known.get(field.name)
        if old is None:
            broken.append(f"{field.name!r} is new, clients do not send it")
        elif old.type != field.type:
            broken.append(f"{field.name!r} was a {old.type}, is a {field.type}")
    if (before.labels is None) != (after.labels is None):
        broken.append("labels became numbers, or numbers labels")
    gone = set(before.labels or ()) - set(after.labels or ())
    return broken + [f"the label {label!r} is gone" for label in sorted(gone, key=str)]


def _judged(check: GateCheck, trial: Trial) -> Check:
    try:
        return check.judge(trial)
    except (RatchetError, KeyError, ValueError) as error:
        reason = f"the holdout has no column {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        return Check(name=check.name, figure=None, limit=None, passed=False, reason=reason)


def _columns(schema: Schema) -> set[tuple[str, str]]:
    return {(field.name, field.type) for field in schema.features} | {(schema.target, "target")}


def _comparable_anchor(trial: Trial) -> Package | None:
    """The anchor, where it takes the columns that the rows have."""
    same = trial.anchor and _columns(trial.anchor.schema) == _columns(trial.challenger.schema)
    return trial.anchor if same else None


def _labelled_as(schema: Schema, other: Schema) -> Schema:
    return schema.model_copy(update={"labels": other.labels, "target": other.target})


def _median_latency(package: Package, row: pd.DataFrame) -> float:
    features = package.schema.select(row)
    if package.onnx_path is not None:
        session, inputs = open_session(package.onnx_path.read_bytes()), onnx_inputs(features, package.schema)
        return _median_ms(lambda: session.run(None, inputs))
    return _median_ms(lambda: package.model.predict(features))


def _median_ms(call: Any) -> float:
    call()
    times = []
    for _ in range(_LATENCY_CALLS):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)
