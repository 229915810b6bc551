"""Log a drift report to MLflow and to the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.windows import record_drift_of_training
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.tracking import connect, log_metrics
from ratchet.tracking.keys import column_key

# The artifact with the names of the columns in the metrics' keys.
COLUMN_TABLE = "drift_columns.csv"


def record_drift(settings: Settings, model: str, run_id: str, report: DriftReport) -> None:
    """Log a report to its MLflow run and to the store's table of drift windows.

    The run gets metrics, the table ``drift_columns.csv`` of their columns, and the report as ``drift.json``. A report
    without a verdict, such as one on too few rows, has no metrics, and is not stored.
    """
    client = connect(settings)
    client.log_dict(run_id, report.model_dump(mode="json"), "drift.json")
    if report.has_verdict:
        record_drift_of_training(open_store(settings), model, report, run_id)
        log_metrics(client, run_id, drift_metrics(report))
        client.log_text(run_id, column_table(report.figures, report.drifted, report.p_values), COLUMN_TABLE)


def column_table(figures: Mapping[str, float], drifted: Collection[str], p_values: Mapping[str, float]) -> str:
    """Return the columns of a report as CSV: the key of its metrics, the name, the figure, p-value and verdict."""
    rows = [(column_key(name), name, figure, p_values.get(name), name in drifted) for name, figure in figures.items()]
    return pd.DataFrame(rows, columns=["key", "column", "figure", "p_value", "drifted"]).to_csv(index=False)


def drift_metrics(report: DriftReport) -> dict[str, float]:
    """Return a report as flat metrics: ``drift.<key>`` and ``drift_p.<key>`` of each column, and the other groups.

    A report without a verdict has none.
    """
    if not report.has_verdict:
        return {}
    metrics = {f"drift.{column_key(name)}": figure for name, figure in report.figures.items()}
    metrics |= {f"drift_p.{column_key(name)}": p_value for name, p_value in report.p_values.items()}
    for group, columns in {"embedded": report.embedded, "output": report.predictions}.items():
        metrics |= {f"drift_{group}.{column.name}": column.figure for column in columns}
        metrics |= {f"drift_{group}_p.{column.name}": column.p_value for column in columns}
    domain = {"drift_domain_auc": report.domain_auc, "drift_domain_p": report.domain_p}
    metrics |= {name: value for name, value in domain.items() if value is not None}
    return metrics | {"drift_share": report.share, "drift_detected": float(report.detected)}
