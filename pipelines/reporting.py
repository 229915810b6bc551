"""The reporting pipeline: one report on the version in Production."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from ratchet.config.reporting import ReportingConfig
from steps.report import report


@pipeline(name="reporting", execution_mode=ExecutionMode.FAIL_FAST)
def reporting(config: ReportingConfig, model_name: str) -> None:
    """Compare production with training, and measure the champion on labelled production rows."""
    report(config, model_name)
