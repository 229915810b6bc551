"""Data sets that a formula makes: no file, no network, and the same rows for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import pandas as pd

from ratchet.config import GeneratedDataset
from ratchet.data.fingerprint import frame_version
from ratchet.data.sources.generated.churn import generate_churn
from ratchet.data.sources.generated.fraud import generate_fraud
from ratchet.errors import DataError

__all__ = ["ROWS", "GeneratedSource"]

_GENERATORS: dict[str, Callable[[int, int, str], pd.DataFrame]] = {"fraud": generate_fraud, "churn": generate_churn}
# So many unless the config asks for another number: enough for a stable holdout, few enough to train in seconds.
ROWS = {"fraud": 30_000, "churn": 5_000}


class GeneratedSource:
    """Rows of a formula; docs/reference/datasets has its figures."""

    def __init__(self, config: GeneratedDataset) -> None:
        self._config = config

    def version(self) -> str:
        """The MD5 of the rows written as CSV."""
        return frame_version(self._frame)

    def read(self) -> pd.DataFrame:
        """The rows, the target last."""
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        config = self._config
        rows = config.rows or ROWS[config.name]
        frame = _GENERATORS[config.name](rows, config.seed, config.target)
        if frame.columns.duplicated().any():
            raise DataError(
                f"dataset.target: {config.target!r} is a feature of {config.name}; choose another name, such as label"
            )
        return frame
