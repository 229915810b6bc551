"""Log a drift report to MLflow and to the store."""

from __future__ import annotations

from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.windows import record_drift_of_training
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.tracking import connect, log_metrics


def record_drift(settings: Settings, model: str, run_id: str, report: DriftReport) -> None:
    """Log a report to its MLflow run, as metrics and as ``drift.json``, and to the store's table of drift windows."""
    record_drift_of_training(open_store(settings), model, report, run_id)
    client = connect(settings)
    client.set_tag(run_id, "ratchet.drift", report.summary)
    client.log_dict(run_id, report.model_dump(mode="json"), "drift.json")
    if report.reference is not None:
        log_metrics(client, run_id, drift_metrics(report))


def drift_metrics(report: DriftReport) -> dict[str, float]:
    """Return a report as flat metrics: ``drift.<column>``, ``drift_p.<column>``, and the other groups by their name."""
    metrics = {f"drift.{name}": figure for name, figure in report.figures.items()}
    metrics |= {f"drift_p.{name}": p_value for name, p_value in report.p_values.items()}
    for group, columns in {"embedded": report.embedded, "output": report.predictions}.items():
        metrics |= {f"drift_{group}.{column.name}": column.figure for column in columns}
        metrics |= {f"drift_{group}_p.{column.name}": column.p_value for column in columns}
    domain = {"drift_domain_auc": report.domain_auc, "drift_domain_p": report.domain_p}
    metrics |= {name: value for name, value in domain.items() if value is not None}
    return metrics | {"drift_share": report.share, "drift_detected": float(report.detected)}
