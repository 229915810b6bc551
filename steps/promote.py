"""Promote or refuse the challenger."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step
from zenml.metadata.metadata_types import MetadataType

from ratchet import tracking
from ratchet.config.continuous import AnyTrainingConfig
from ratchet.data.row_identities import RowIdentities
from ratchet.model.evaluation import Evaluation
from ratchet.monitoring.drift.report import DriftReport
from ratchet.registry.attempt import attempt
from ratchet.registry.promote_challenger import Promotion, promote_challenger
from ratchet.settings import load_settings
from ratchet.tracking.lineage import Lineage
from steps.model_control_plane import ZenMLStage
from steps.run_context import in_this_run


# Never cached: the champion may have changed, and the step changes the production pointer.
@step(enable_cache=False, experiment_tracker=True)
def promote(
    package: tracking.PackageRef,
    evaluation: Evaluation,
    drift: DriftReport,
    holdout_rows: pd.DataFrame,
    identities: RowIdentities,
    config: AnyTrainingConfig,
    lineage: Lineage,
    n_reference: int | None = None,
    operation_id: str | None = None,
    label_bias: str | None = None,
) -> Annotated[Promotion, "promotion"]:
    """Register the challenger, and promote it if it passes the gate."""
    settings = load_settings()
    zenml = ZenMLStage(settings)
    result = promote_challenger(
        settings,
        config,
        tracking.active_run_id(),
        package,
        evaluation,
        holdout_rows,
        identities,
        in_this_run(lineage),
        [zenml],
        n_reference=n_reference,
        operation_id=operation_id,
        label_bias=label_bias,
    )
    shown: dict[str, MetadataType] = {"outcome": result.outcome, "version": result.version, "drift": drift.summary}
    warnings = [
        *attempt("ZenML's version", lambda: zenml.describe(config.model, result.version)),
        *attempt("ZenML's metadata", lambda: log_metadata(metadata=shown, infer_artifact=True)),
    ]
    return result.model_copy(update={"warnings": (*result.warnings, *warnings)})
