"""Data sets that a formula generates, with the same rows for the same seed on every machine."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from ratchet.config import GeneratedDataset
from ratchet.data.sources.frame import FrameSource
from ratchet.data.sources.generated.churn import generate_churn
from ratchet.data.sources.generated.fraud import generate_fraud
from ratchet.errors import DataError

# The generator of each data set, and its default number of rows.
_GENERATORS: dict[str, tuple[Callable[[int, int, str], pd.DataFrame], int]] = {
    "fraud": (generate_fraud, 30_000),
    "churn": (generate_churn, 5_000),
}


class GeneratedSource(FrameSource[GeneratedDataset]):
    """Generated rows, the target last. See docs/reference/datasets."""

    def _load(self) -> pd.DataFrame:
        config = self._config
        generate, rows = _GENERATORS[config.name]
        frame = generate(config.rows or rows, config.seed, config.target)
        if frame.columns.duplicated().any():
            raise DataError(
                f"dataset.target: {config.target!r} is a feature of {config.name}; choose another name, such as label"
            )
        return frame
