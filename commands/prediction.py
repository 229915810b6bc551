"""Predictions for the rows of a file."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, Model


def predict(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, TSV or Parquet, with a column for each feature.")],
    model: Model = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="N", help="A version's number (default: the one in Production).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="CSV, TSV or Parquet (default: FILE's name with .predictions before its end)."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="COLUMN", help="Copy a column that is no feature, such as an id."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict the rows of a file: the same rows with the predictions, as the service gives them."""
    from commands.console.formats import print_json
    from commands.console.prediction import print_prediction, progress
    from ratchet.inference.file_prediction.predict_file import open_prediction
    from ratchet.settings import load_settings, quiet_environment
    from ratchet.tracking import choose_model

    quiet_environment()
    settings = load_settings()
    target = out or file.parent / f"{file.stem}.predictions{file.suffix}"
    with _ending_at_sigterm(), progress() as on_progress:
        prediction = open_prediction(settings, choose_model(settings, model), version, file, target, keep or ())
        started = time.perf_counter()
        prediction.run(on_progress)
    seconds = time.perf_counter() - started
    print_json(prediction.summary(seconds)) if as_json else print_prediction(prediction, seconds)


@contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """End a block at SIGTERM as at Ctrl-C, so that no partial file remains."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
