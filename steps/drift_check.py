"""Check the training rows for drift."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet import tracking
from ratchet.config import Drift
from ratchet.monitoring.drift import report as drift
from ratchet.monitoring.drift.log_drift import record_drift
from ratchet.monitoring.drift.report import DriftReport
from ratchet.registry.fetch_package import reference_package
from ratchet.settings import load_settings


# Never cached: the champion may have changed.
@step(enable_cache=False, experiment_tracker=True)
def drift_check(
    train_rows: pd.DataFrame, model_name: str, config: Drift, first_new_row: int = 0
) -> Annotated[DriftReport, "drift"]:
    """Compare the new rows and the champion's predictions for them with the rows that it was trained on."""
    settings = load_settings()
    champion, version = reference_package(settings, model_name)
    report = drift.compare_window(train_rows.iloc[first_new_row:], None, champion, config, version)
    record_drift(settings, model_name, tracking.active_run_id(), report)
    share = {"share": report.share} if report.has_verdict else {}
    log_metadata(metadata={"summary": report.summary, **share}, infer_artifact=True)
    return report
