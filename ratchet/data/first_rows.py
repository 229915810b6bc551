"""A check of a data set before a run: all rows of a small one, the first rows of a large file."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ratchet.config import Dataset, TaskName
from ratchet.data import open_source
from ratchet.data.columns import require_columns
from ratchet.data.schema import check_frame, check_rules, selected, typed_columns
from ratchet.data.sources.files import FileSource
from ratchet.data.suspicion import Suspicion
from ratchet.data.suspicious_columns import require_none, suspicious_columns
from ratchet.data.windows import in_order


@dataclass(frozen=True)
class CheckedRows:
    """The rows that were checked before a run.

    Attributes
    ----------
    n_rows: their number.
    complete: whether these are all rows.
    warnings: about suspicious columns and rows.
    """

    n_rows: int
    complete: bool
    warnings: tuple[Suspicion, ...]

    def __str__(self) -> str:
        if self.complete:
            return f"all {self.n_rows:,} rows are checked"
        return (
            f"the first {self.n_rows:,} rows are checked; the run checks later rows, the number of classes and the gaps"
            " of a series"
        )


def check_first_rows(config: Dataset, task: TaskName) -> CheckedRows:
    """Check encoding, columns, types and rules of a data set as a run does, of a large file on its first rows alone.

    Raises
    ------
    DataError: the file cannot be read, a column that the config names is missing, a value breaks a rule, or the data
        are suspicious and ``strict`` is set.
    """
    source = open_source(config)
    rows, complete = source.read_first() if isinstance(source, FileSource) else (source.read(), True)
    if complete:
        check_frame(in_order(rows, config), config, task)
    else:
        _check_values(rows, config, task)
    # The first rows of a sorted file can have one value where the others have more.
    found = [one for one in suspicious_columns(rows, config, task) if complete or one.kind != "constant"]
    require_none(found, config)
    return CheckedRows(len(rows), complete, tuple(found))


def _check_values(rows: pd.DataFrame, config: Dataset, task: TaskName) -> None:
    kept = selected(rows, config)
    if config.window is not None:
        require_columns(rows.columns, [*config.window.lags, *config.window.known], "window")
        require_columns(rows.columns, config.groups, "group")
    check_rules(typed_columns(kept, config, task), config)
