"""The progress and the result of a prediction of a file on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from commands.console.formats import field_table, wide_console

if TYPE_CHECKING:
    from ratchet.inference.file_prediction.predict_file import FilePrediction

# Labels that are counted on the terminal.
_MOST_LABELS = 10


@contextmanager
def progress() -> Iterator[Callable[[float, int], None]]:
    """Yield a listener for the share of the file that was read and its rows: a bar on a terminal, otherwise nothing."""
    if not sys.stderr.isatty():
        yield lambda share, rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("loading the model", total=None, rows="")

        def listen(share: float, rows: int) -> None:
            shown.update(task, description="predicting", total=1.0, completed=share, rows=f"{share:4.0%} {rows:,} rows")

        yield listen


def print_prediction(prediction: FilePrediction, seconds: float) -> None:
    """Print what was predicted and where it is."""
    model, labels = prediction.model, prediction.labels.most_common(_MOST_LABELS)
    more = f", and {len(prediction.labels) - len(labels)} more labels" if len(prediction.labels) > len(labels) else ""
    counts = ", ".join(f"{label}: {count:,}" for label, count in labels) + more
    fields = [
        ("predicted", f"{prediction.rows:,} rows in {seconds:.1f} s"),
        ("model", f"{model.name} version {model.version}"),
        *([(model.signature.target, counts)] if labels else []),
        *(
            ("warning", f"{prediction.source.path} has no column {name!r}: its values count as missing")
            for name in prediction.left_out
        ),
        ("file", str(prediction.target)),
    ]
    wide_console().print(field_table(fields))
