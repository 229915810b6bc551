"""Tune hyper-parameters."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet import tracking
from ratchet.config.tuning import TuningConfig
from ratchet.data import Schema
from ratchet.experiments.tuning.record import tune_in_run
from ratchet.experiments.tuning.summary import StudySummary
from ratchet.settings import load_settings
from ratchet.tracking.lineage import Lineage
from steps.run_context import in_this_run


# Never cached: the study is stored by Optuna, and the config may have more trials.
@step(enable_cache=False, experiment_tracker=True)
def tune(
    train_rows: pd.DataFrame, schema: Schema, config: TuningConfig, lineage: Lineage
) -> Annotated[StudySummary, "study"]:
    """Run the trials that the study lacks, on folds of the training rows; the step has no holdout."""
    run = tracking.active_run_id()
    summary = tune_in_run(load_settings(), run, config, train_rows, schema, in_this_run(lineage))
    log_metadata(metadata={"study": summary.study, "best_trial": summary.best.number}, infer_artifact=True)
    return summary
