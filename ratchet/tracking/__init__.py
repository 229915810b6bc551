"""MLflow: experiments, runs, logged models and registered versions."""

from ratchet.tracking.artifacts import download
from ratchet.tracking.connection import (
    active_run_id,
    all_pages,
    comparisons_of,
    connect,
    ensure_experiment,
    quoted,
    reachable,
)
from ratchet.tracking.models import DIGEST_TAG, PackageRef, choose_model, register, registered_models
from ratchet.tracking.runs import (
    PACKAGE_BYTES,
    TRAINING_SECONDS,
    ChildRun,
    RunRecord,
    child_runs,
    log_child_run,
    log_inputs,
    log_metrics,
    run_record,
)

__all__ = [
    "DIGEST_TAG",
    "PACKAGE_BYTES",
    "TRAINING_SECONDS",
    "ChildRun",
    "PackageRef",
    "RunRecord",
    "active_run_id",
    "all_pages",
    "child_runs",
    "choose_model",
    "comparisons_of",
    "connect",
    "download",
    "ensure_experiment",
    "log_child_run",
    "log_inputs",
    "log_metrics",
    "quoted",
    "reachable",
    "register",
    "registered_models",
    "run_record",
]
