"""What steps read of their pipeline run, and log to it."""

from __future__ import annotations

from zenml import get_step_context, log_metadata

from ratchet.tracking.lineage import Lineage


def in_this_run(lineage: Lineage) -> Lineage:
    """Return the lineage with the ids of the current pipeline run."""
    run = get_step_context().pipeline_run
    return lineage.model_copy(update={"zenml_run_id": str(run.id), "zenml_run_name": run.name})


def log_row_counts(data_version: str, **rows: int) -> None:
    """Log the data version and the number of rows on each of the step's artifacts, which are given by name."""
    for name, count in rows.items():
        log_metadata(metadata={"data_version": data_version, "rows": count}, artifact_name=name, infer_artifact=True)
