"""What a step knows of the pipeline run that it is part of."""

from __future__ import annotations

from zenml import get_step_context

from ratchet.tracking.lineage import Lineage


def in_this_run(lineage: Lineage) -> Lineage:
    """The lineage with the ids of the current pipeline run."""
    run = get_step_context().pipeline_run
    return lineage.model_copy(update={"zenml_run_id": str(run.id), "zenml_run_name": run.name})
