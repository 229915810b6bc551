"""What was found on windows of production rows, kept in the store so that a restart forgets nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.live_quality import Quality
from ratchet.store.database import Store
from ratchet.store.tables import drift_results, quality_results


@dataclass(frozen=True)
class Span:
    """Where a window lies: the lowest and the highest id of its predictions."""

    first: str
    last: str


def record_drift_window(store: Store, model: str, version: str, report: DriftReport, span: Span) -> bool:
    """Write down the verdict on a window of production; whether nobody else had."""
    return _record_drift(
        store, model, version, report, kind="production", first_prediction=span.first, last_prediction=span.last
    )


def record_drift_of_training(store: Store, model: str, report: DriftReport, run_id: str) -> None:
    """Write down how the rows of a training run compare with the champion's; nothing where there was none."""
    if report.reference is not None:
        _record_drift(store, model, report.reference, report, kind="training", run_id=run_id)


def drift_windows(store: Store, model: str, version: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest windows of production, newest first.

    Parameters
    ----------
    version: judged against this version; None for any.
    limit: the most rows.
    """
    table = drift_results.c
    where = sa.and_(table.model == model, table.kind == "production")
    if version is not None:
        where = sa.and_(where, table.version == version)
    return _rows(store, sa.select(drift_results).where(where).order_by(table.id.desc()).limit(limit))


def record_quality(store: Store, model: str, found: Quality, last_seq: int) -> bool:
    """Write down the quality on a window of labelled rows; whether nobody else had."""
    if found.value is None or found.low is None or found.high is None:
        raise ValueError("a window without a verdict is not written down")
    with store.transaction() as connection:
        return store.insert_new(
            connection,
            quality_results,
            model=model,
            version=found.version,
            last_seq=last_seq,
            n_rows=found.n_rows,
            metric=found.metric,
            value=found.value,
            low=found.low,
            high=found.high,
            estimate=found.estimate,
            dropped=found.dropped,
            report=found.model_dump(mode="json"),
            created_at=store.now(connection),
        )


def quality_windows(
    store: Store, model: str, version: str | None, limit: int, *, metric: str | None = None
) -> list[dict[str, Any]]:
    """The newest windows of labelled rows, newest first.

    Parameters
    ----------
    version, limit: as for ``drift_windows``.
    metric: judged by this metric; None for any.
    """
    table = quality_results.c
    where: Any = table.model == model
    if version is not None:
        where = sa.and_(where, table.version == version)
    if metric is not None:
        where = sa.and_(where, table.metric == metric)
    return _rows(store, sa.select(quality_results).where(where).order_by(table.id.desc()).limit(limit))


def _record_drift(store: Store, model: str, version: str, report: DriftReport, **values: Any) -> bool:
    with store.transaction() as connection:
        return store.insert_new(
            connection,
            drift_results,
            model=model,
            version=version,
            n_rows=report.n_rows,
            detected=report.detected,
            share=report.share,
            report=report.model_dump(mode="json"),
            created_at=store.now(connection),
            **values,
        )


def _rows(store: Store, statement: Any) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]
