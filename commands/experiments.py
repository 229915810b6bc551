"""What was tried: the runs of a model side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, Model


def compare(
    model: Model = None,
    metric: Annotated[
        str | None, typer.Option(help="What to order by (default: the primary metric of the runs).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write comparison.md and the pictures here.")
    ] = None,
    log: Annotated[bool, typer.Option("--log/--no-log", help="Log page and pictures to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Put the newest run of each config side by side: parameters, metric, costs, and what the gate said."""
    from commands.console.comparison import print_comparison, print_places
    from commands.console.runs import print_json
    from pipelines.progress import silence_libraries
    from ratchet.experiments.comparison.record import log_comparison, write_comparison
    from ratchet.experiments.comparison.table import compare as side_by_side
    from ratchet.settings import load_settings, quiet_environment
    from ratchet.tracking import choose_model

    quiet_environment()
    silence_libraries()
    settings = load_settings()
    found = side_by_side(settings, choose_model(settings, model), metric)
    files = write_comparison(found, output) if output else []
    run = log_comparison(settings, found) if log else None
    if as_json:
        print_json(found.model_dump() | {"files": [str(path) for path in files], "logged": run})
    else:
        print_comparison(found)
        print_places(settings, found, files, run)
