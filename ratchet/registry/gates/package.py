"""Checks of the challenger alone: its metric, its package, its ONNX export, its latency, and its signature."""

from __future__ import annotations

import pandas as pd

from ratchet.config import LOSSES
from ratchet.data.schema import Schema
from ratchet.model.package.golden_predictions import TOLERANCE, golden_difference
from ratchet.model.package.onnx import PARITY, check_parity, onnx_inputs, open_session
from ratchet.model.package.sealed_package import Package
from ratchet.registry.gates.contract import GateInput, Result
from ratchet.registry.gates.processor_time import processor_ms


def floor(given: GateInput) -> Result:
    """Check the primary metric against the config's minimum, or for a loss its maximum."""
    config, figure = given.config.evaluate, given.evaluation.primary
    loss = config.primary_metric in LOSSES
    limit = config.maximum if loss else config.minimum
    if limit is None:
        return Result(True, "the config sets no floor", figure)
    passed = figure <= limit if loss else figure >= limit
    reason = f"{config.primary_metric} {figure:.4f}, needed at {'most' if loss else 'least'} {limit:g}"
    return Result(passed, reason, figure, limit)


def signature(given: GateInput) -> Result:
    """Check that the challenger accepts the requests of the champion's clients."""
    broken = incompatibilities(given.champion.schema, given.challenger.schema) if given.champion else []
    return Result(not broken, "; ".join(broken) or "clients need not change", float(len(broken)), 0.0)


def golden(given: GateInput) -> Result:
    """Check that the package, loaded from the registry, reproduces its golden predictions."""
    package = given.challenger
    found = golden_difference(package.model, package.golden, package.schema)
    reason = f"{found.reason} after a reload, allowed is {TOLERANCE:g}"
    return Result(found.within(TOLERANCE), reason, min(found.gap, 1e300), TOLERANCE)


def onnx_parity(given: GateInput) -> Result:
    """Check that the ONNX export, if there is one, agrees with scikit-learn on the holdout."""
    package = given.challenger
    if package.onnx is None:
        return Result(True, "there is no ONNX export")
    report = check_parity(package.onnx, package.model, package.schema.select(given.holdout), package.schema)
    reason = report.reason or f"differs by {report.max_difference or 0:.2g} at most"
    return Result(report.exported, reason, report.max_difference, PARITY)


def latency(given: GateInput) -> Result:
    """Check the processor time of a prediction of one row, with ONNX Runtime if the service would use it."""
    limit = given.config.promote.latency_ms
    figure = _latency_ms(given.challenger, given.holdout.head(1))
    reason = f"{figure:.3f} ms of processor time a row, allowed are {limit:g} ms"
    return Result(figure <= limit, reason, figure, limit)


def incompatibilities(before: Schema, after: Schema) -> list[str]:
    """List the changes that break a client which sends the first schema's features and reads its labels."""
    known, broken = {field.name: field for field in before.features}, []
    for field in after.features:
        old = known.get(field.name)
        if old is None:
            broken.append(f"{field.name!r} is new, clients do not send it")
        elif old.type != field.type:
            broken.append(f"{field.name!r} was a {old.type}, is a {field.type}")
    if (before.labels is None) != (after.labels is None):
        broken.append("labels became numbers, or numbers labels")
    removed = set(before.labels or ()) - set(after.labels or ())
    return broken + [f"the label {label!r} was removed" for label in sorted(removed, key=str)]


def _latency_ms(package: Package, row: pd.DataFrame) -> float:
    features = package.schema.select(row)
    if package.onnx is not None:
        session = open_session(package.onnx)
        inputs = onnx_inputs(session, features, package.schema)
        return processor_ms(lambda: session.run(None, inputs))
    return processor_ms(lambda: package.model.predict(features))
