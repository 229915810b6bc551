"""The comparison of a model's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, Model


def compare(
    model: Model = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric to order by (default: the primary metric of the runs).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write comparison.md and its picture here.")
    ] = None,
    log: Annotated[bool, typer.Option("--log/--no-log", help="Log page and picture to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare the newest run of each config: parameters, metric, costs, and the gate's verdict."""
    from commands.console.comparison import print_comparison, print_places
    from commands.console.formats import print_json
    from pipelines.progress import silence_libraries
    from ratchet.experiments.comparison.record import log_comparison, write_comparison
    from ratchet.experiments.comparison.table import compare as compare_runs
    from ratchet.settings import load_settings, quiet_environment
    from ratchet.tracking import choose_model

    quiet_environment()
    silence_libraries()
    settings = load_settings()
    found = compare_runs(settings, choose_model(settings, model), metric)
    files = write_comparison(found, output) if output else []
    run = log_comparison(settings, found) if log else None
    if as_json:
        print_json(found.model_dump() | {"files": [str(path) for path in files], "logged": run})
    else:
        print_comparison(found)
        print_places(settings, found, files, run)
