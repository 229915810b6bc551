"""``run.py init FILE --target COLUMN``: a first config for a file, with two variations and a data card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands import ROOT


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV, TSV or Parquet file.")],
    target: Annotated[str | None, typer.Option("--target", "-t", help="The column to predict.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name; default: that of the file.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="classification, regression, forecasting, anomaly_detection or recommendation; inferred."),
    ] = None,
) -> None:
    """Look at a file, and write a config to train on it, two variations, and a draft of a data card."""
    from commands.console.first_config import print_first_config
    from ratchet.experiments.first_config.decide import first_config, model_name
    from ratchet.experiments.first_config.written_files import free_folder, write_files

    model = model_name(file, name)
    folder = free_folder(ROOT / "configs", model)
    with first_config(file, target, model, task) as first:
        written = write_files(first, folder)
    print_first_config(first, folder, written)
