"""Stored verdicts on windows of production rows: drift and live quality; and how far the windows are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.prediction_rows import settle_late
from ratchet.store.tables import drift_results, label_checks, quality_results, window_positions

if TYPE_CHECKING:  # the service and the status read windows without the libraries that compute them
    from ratchet.monitoring.drift.report import DriftReport
    from ratchet.monitoring.label_bias import LabelCheck
    from ratchet.monitoring.live_quality import Quality

_QUALITY_COLUMNS = {"version", "n_rows", "metric", "value", "low", "high", "estimate", "dropped"}


@dataclass(frozen=True)
class Position:
    """How far the labels of a version were judged in windows, which is also known of windows without a verdict.

    Attributes
    ----------
    name: what the windows are judged by; each name has a position of its own.
    """

    store: Store
    model: str
    version: str
    name: str

    def read(self) -> int:
        """Return the number of the last feedback that was judged, or 0."""
        with self.store.reading() as connection:
            return int(connection.scalar(sa.select(window_positions.c.last_seq).where(*self._key)) or 0)

    def write(self, last_seq: int) -> None:
        """Move forward to a feedback; a position never moves back."""
        key = {"model": self.model, "version": self.version, "name": self.name}
        with self.store.transaction() as connection:
            if not self.store.insert_new(connection, window_positions, **key, last_seq=last_seq):
                behind = window_positions.c.last_seq < last_seq
                connection.execute(sa.update(window_positions).where(*self._key, behind).values(last_seq=last_seq))

    @property
    def _key(self) -> tuple[sa.ColumnElement[bool], ...]:
        table = window_positions.c
        return table.model == self.model, table.version == self.version, table.name == self.name


def record_drift_window(
    store: Store, model: str, version: str, report: DriftReport, first: str, last: str, late: Sequence[str] = ()
) -> bool:
    """Store the verdict on the production rows from one prediction id to another; return whether it is a new one.

    Parameters
    ----------
    late: the ids of the window's rows that were inserted late; no other window includes them.
    """
    with store.transaction() as connection:
        settle_late(connection, model, version, late)
        return _record_drift(
            store,
            connection,
            model,
            version,
            report,
            kind="production",
            first_prediction=first,
            last_prediction=last,
        )


def record_drift_of_training(store: Store, model: str, report: DriftReport, run_id: str) -> None:
    """Store the drift of a training run's rows against the champion; nothing is stored without a verdict."""
    if report.reference is not None and report.has_verdict:
        with store.transaction() as connection:
            _record_drift(store, connection, model, report.reference, report, kind="training", run_id=run_id)


def drift_windows(store: Store, model: str, version: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest drift windows of production, newest first; without a version, those of any."""
    return _newest(store, drift_results, limit, model=model, kind="production", version=version)


def last_judged_prediction(store: Store, model: str, version: str, *, before: str) -> str:
    """Return the highest prediction id below another one up to which a version's drift was judged, or an empty text."""
    table = drift_results.c
    mine = sa.and_(table.model == model, table.kind == "production", table.version == version)
    with store.reading() as connection:
        highest = sa.select(sa.func.max(table.last_prediction)).where(mine, table.last_prediction < before)
        return connection.scalar(highest) or ""


def record_quality(store: Store, model: str, found: Quality, last_seq: int) -> bool:
    """Store the quality on a window of labelled rows that has a value; return whether it was not stored before."""
    with store.transaction() as connection:
        return store.insert_new(
            connection,
            quality_results,
            model=model,
            last_seq=last_seq,
            report=found.model_dump(mode="json"),
            created_at=store.now(connection),
            **found.model_dump(include=_QUALITY_COLUMNS),
        )


def quality_windows(
    store: Store, model: str, version: str | None, limit: int, *, metric: str | None = None
) -> list[dict[str, Any]]:
    """Return the newest quality windows, newest first; without a version or a metric, those of any."""
    return _newest(store, quality_results, limit, model=model, version=version, metric=metric)


def record_label_check(store: Store, model: str, found: LabelCheck, last_seq: int) -> None:
    """Store whether labels are biased, as of a watermark."""
    values = {"model": model, "last_seq": last_seq, "biased": found.biased, "report": found.model_dump(mode="json")}
    with store.transaction() as connection:
        connection.execute(sa.insert(label_checks).values(**values, created_at=store.now(connection)))


def newest_label_check(store: Store, model: str) -> dict[str, Any] | None:
    """Return the newest result of a model's label check, or None."""
    return next(iter(_newest(store, label_checks, 1, model=model)), None)


def _record_drift(
    store: Store, connection: sa.Connection, model: str, version: str, report: DriftReport, **values: Any
) -> bool:
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


def _newest(store: Store, table: sa.Table, limit: int, **values: str | None) -> list[dict[str, Any]]:
    """Return the newest rows whose columns have the values; None is any value."""
    where = [table.c[name] == value for name, value in values.items() if value is not None]
    statement = sa.select(table).where(*where).order_by(table.c.id.desc()).limit(limit)
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]
