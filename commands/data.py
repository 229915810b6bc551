"""The commands for DVC: a data set as a file, and the metrics of an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import ROOT
from commands.options import Overrides, config_option
from commands.request import read_request

if TYPE_CHECKING:
    from ratchet.config import TrainingConfig
    from ratchet.settings import Settings

Config = Annotated[str, config_option("A config of training.")]


def data(
    config: Config,
    overrides: Overrides = None,
    check: Annotated[bool, typer.Option("--check", help="Check only; write nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file with other content; accept data that DVC has not recorded.")
    ] = False,
) -> None:
    """Write the file of a config's data set, and compare its hash with the one that DVC has recorded."""
    from ratchet.data.materialise import file_name, materialise, recorded_version

    loaded, settings = _open(config, overrides)
    path = file_name(loaded.dataset, settings.data_dir, loaded.model)
    recorded = recorded_version(ROOT, path, loaded.dataset)
    found = materialise(loaded.dataset, path, recorded=recorded, force=force, write=not check)
    rows = f", {found.rows} rows" if found.rows is not None else ""
    state = "written" if found.written else "unchanged"
    known = ", as DVC has recorded" if recorded == found.version else ""
    print(f"{path}: {state}{rows}, MD5 {found.version}{known}")


def evaluate(
    config: Config,
    overrides: Overrides = None,
    metrics: Annotated[Path | None, typer.Option(help="Default: metrics/<model>.json.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Default: metrics/predictions/<model>.csv.")] = None,
) -> None:
    """Score an exported model.joblib on the holdout of its training, and write the files for dvc metrics and plots."""
    from ratchet.model.score_export import score_export, write_scores

    loaded, settings = _open(config, overrides)
    scores = score_export(loaded, settings.models_dir / loaded.model)
    metrics = metrics or Path("metrics") / f"{loaded.model}.json"
    write_scores(scores, metrics, predictions or Path("metrics/predictions") / f"{loaded.model}.csv")
    found = scores.evaluation
    print(
        f"{metrics}: {found.primary_metric} {found.primary:.4f} [{found.low:.4f}, {found.high:.4f}]"
        f" on {found.n_rows} rows"
    )


def _open(config: str, overrides: list[str] | None) -> tuple[TrainingConfig, Settings]:
    from ratchet.errors import ConfigError

    loaded, request = read_request(config, overrides)
    if not hasattr(loaded, "dataset"):
        raise ConfigError(f"{request.path}: a config of {loaded.pipeline} has no data set; training has")
    return loaded, request.settings
