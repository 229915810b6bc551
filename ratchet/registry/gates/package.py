"""The challenger by itself: its figure, its package, its exports, its speed, and whether clients can use it."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pandas as pd

from ratchet.config import LOSSES
from ratchet.data.schema import Schema
from ratchet.model.package.golden_predictions import TOLERANCE, golden_gap
from ratchet.model.package.onnx import PROBABILITY_TOLERANCE, check_parity, onnx_inputs, open_session
from ratchet.model.package.sealed_package import Package
from ratchet.registry.gates.contract import Check, Trial

_LATENCY_CALLS = 30


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
        if package.onnx is None:
            return Check(name=self.name, figure=None, limit=None, passed=True, reason="there is no ONNX export")
        features = package.schema.select(trial.holdout)
        report = check_parity(package.onnx, package.model, features, package.schema)
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


def _median_latency(package: Package, row: pd.DataFrame) -> float:
    features = package.schema.select(row)
    if package.onnx is not None:
        session = open_session(package.onnx)
        inputs = onnx_inputs(session, features, package.schema)
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
