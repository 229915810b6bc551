"""Promote or refuse the challenger."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet import tracking
from ratchet.config.continuous import AnyTrainingConfig
from ratchet.model.evaluation import Evaluation
from ratchet.monitoring.drift.report import DriftReport
from ratchet.registry.promote_challenger import Promotion, promote_challenger
from ratchet.settings import load_settings
from ratchet.tracking.lineage import Lineage
from steps.model_control_plane import ZenMLStage, link_version
from steps.run_context import in_this_run


# Never cached: the champion may have changed, and the step changes the production pointer.
@step(enable_cache=False, experiment_tracker=True)
def promote(
    package: tracking.PackageRef,
    evaluation: Evaluation,
    drift: DriftReport,
    holdout_rows: pd.DataFrame,
    config: AnyTrainingConfig,
    lineage: Lineage,
    n_reference: int | None = None,
    operation_id: str | None = None,
) -> Annotated[Promotion, "promotion"]:
    """Register the challenger, and promote it if it passes the gate."""
    run = tracking.active_run_id()
    result = promote_challenger(
        load_settings(),
        config,
        run,
        package,
        evaluation,
        holdout_rows,
        in_this_run(lineage),
        [ZenMLStage()],
        n_reference=n_reference,
        operation_id=operation_id,
    )
    link_version(config.model, result, package, evaluation)
    log_metadata(
        metadata={"outcome": result.outcome, "version": result.version, "drift": drift.summary}, infer_artifact=True
    )
    return result
