"""Report on the champion."""

from typing import Annotated, Any

from zenml import log_metadata, step
from zenml.types import HTMLString

from ratchet import tracking
from ratchet.config.reporting import ReportingConfig
from ratchet.monitoring.reports import report as reports
from ratchet.settings import load_settings


# Never cached: production has new rows.
@step(enable_cache=False, experiment_tracker=True)
def report(
    config: ReportingConfig, model_name: str
) -> tuple[Annotated[HTMLString, "report_page"], Annotated[dict[str, Any], "report"]]:
    """Make the report, add it to Evidently's workspace, and log it."""
    settings = load_settings()
    made, page = reports.make_report(settings, config, model_name)
    reports.record_report(settings, tracking.active_run_id(), made, page)
    log_metadata(metadata={"version": made.version, "drift": made.verdict}, artifact_name="report", infer_artifact=True)
    return HTMLString(page), made.model_dump(mode="json")
