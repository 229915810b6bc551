"""Whether the training rows still look like those the champion was trained on."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet import drift, tracking
from ratchet.champion import reference_profile
from ratchet.config import Drift
from ratchet.drift import DriftReport
from ratchet.run_record import record_drift
from ratchet.settings import load_settings


# Never cached: it asks the registry for the champion of this moment.
@step(enable_cache=False, experiment_tracker=True)
def drift_check(train_rows: pd.DataFrame, model_name: str, config: Drift) -> Annotated[DriftReport, "drift"]:
    """Compare the new rows with the champion's reference profile, if there is a champion."""
    settings = load_settings()
    reference, version = reference_profile(settings, model_name)
    report = drift.compare(train_rows, reference, config, version)
    record_drift(settings, tracking.active_run_id(), report)
    log_metadata({"summary": report.summary, "share": report.share}, infer_artifact=True)
    return report
