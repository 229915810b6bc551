"""The results of a study: its runs and figures in MLflow, and the best config as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from ratchet.config import TrainingConfig
from ratchet.config.plain_yaml import write_yaml
from ratchet.config.tuning import TuningConfig
from ratchet.data.atomic_write import write_whole
from ratchet.data.schema import Schema
from ratchet.experiments.tuning.figures import figures
from ratchet.experiments.tuning.space import config_with
from ratchet.experiments.tuning.study import run_study
from ratchet.experiments.tuning.study_storage import open_study, study_name
from ratchet.experiments.tuning.summary import StudySummary
from ratchet.experiments.tuning.trial_events import publish, subscribed
from ratchet.experiments.tuning.trial_log import STUDY_TAG, trial_log
from ratchet.settings import Settings
from ratchet.tracking import connect, log_inputs, log_metrics
from ratchet.tracking.lineage import Lineage
from ratchet.tracking.markdown import description, escaped, run_note

BEST = "best.yaml"


def tune_in_run(
    settings: Settings, run_id: str, config: TuningConfig, rows: pd.DataFrame, schema: Schema, lineage: Lineage
) -> StudySummary:
    """Run a study in an MLflow run that its trials are nested in, and publish each trial as an event.

    Raises
    ------
    RatchetError: as for ``run_study``, or MLflow cannot be reached.
    """
    client = connect(settings)
    name = study_name(config, lineage.data_version)
    log_inputs(client, run_id, config, lineage, {STUDY_TAG: name})
    with trial_log(settings, run_id, name, config.evaluate.primary_metric) as log, subscribed(log):
        summary = run_study(config, rows, schema, lineage.data_version, settings, publish)
    record_study(settings, run_id, config, summary, lineage.data_version)
    return summary


def record_study(
    settings: Settings, run_id: str, config: TuningConfig, summary: StudySummary, data_version: str
) -> None:
    """Log a study's metrics, figures and best config to an MLflow run, and write the config to a file."""
    client = connect(settings)
    metrics = {f"trials_{state}": float(summary.count(state)) for state in ("complete", "pruned", "failed")}
    metrics |= {"best": summary.best.value or 0.0, "best_trial": summary.best.number}
    if summary.baseline.value is not None:
        metrics["baseline"] = summary.baseline.value
    log_metrics(client, run_id, metrics)
    client.log_batch(run_id, tags=[run_note(describe_study(summary))])
    with open_study(settings, config, data_version) as stored:
        drawn = figures(stored.study, summary)
    for file, figure in drawn.items():
        client.log_figure(run_id, figure, f"figures/{file}")
    client.log_text(run_id, as_yaml(best_config(config, summary), summary), BEST)
    client.log_dict(run_id, json.loads(summary.model_dump_json()), "study.json")
    write_best(settings.models_dir / config.model, best_config(config, summary), summary)


def describe_study(summary: StudySummary) -> str:
    """Return the description of a study's run: the best trial with its values, and the baseline, in Markdown."""
    best, folds = summary.best, f"mean of {summary.n_folds} folds"
    own = summary.baseline.value
    values = [f"| {escaped(key)} | {escaped(value)} |" for key, value in best.values.items()]
    return description(
        f"**Trial {best.number} is the best: {summary.metric} {best.value or 0.0:.4f}** ({folds})"
        + ("" if own is None else f"; the config's own values: {own:.4f}"),
        f"{len(summary.trials)} trials of the study {escaped(summary.study)}; the best config is the artifact `{BEST}`,"
        " which the next run trains.",
        "\n".join(("| parameter | value |", "| --- | --- |", *values)),
    )


def write_best(folder: Path, config: TrainingConfig, summary: StudySummary) -> Path:
    """Write the best config to a file that ``run.py --config`` takes, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    text = as_yaml(config, summary)
    write_whole(folder / BEST, lambda path: path.write_text(text, encoding="utf-8"))
    return folder / BEST


def best_config(config: TuningConfig, summary: StudySummary) -> TrainingConfig:
    """Return the training config with the values of the best trial."""
    return config_with(config.base(), summary.best.values)


def as_yaml(config: TrainingConfig, summary: StudySummary) -> str:
    """Return a config as YAML, with a comment that names its trial and study."""
    values = config.to_plain(exclude_unset=True)
    head = (
        f"# Trial {summary.best.number} of the study {summary.study}: {summary.metric} {summary.best.value:.6g},"
        f" the mean of {summary.n_folds} folds of the training rows.\n"
    )
    return head + write_yaml(values)
