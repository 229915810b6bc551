"""The data sets that scikit-learn brings along."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import pandas as pd

from ratchet.config import SklearnDataset
from ratchet.data.fingerprint import frame_version
from ratchet.errors import DataError


class BundledSource:
    """One of scikit-learn's bundled data sets, with field names a person would type.

    Units in brackets are dropped and blanks become underscores (``sepal length (cm)`` is
    ``sepal_length``); classes are their names.
    """

    def __init__(self, config: SklearnDataset) -> None:
        self._config = config

    def read(self) -> pd.DataFrame:
        """The frame, the target last; shape (rows, features + 1)."""
        return self._frame.copy()

    def version(self) -> str:
        """The MD5 of the data set written as CSV, which is what DVC records for such a file."""
        return frame_version(self._frame)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        from sklearn import datasets

        bunch: Any = getattr(datasets, f"load_{self._config.name}")(as_frame=True)
        frame: pd.DataFrame = bunch.data.rename(columns=_field_name)
        target = bunch.target
        names = getattr(bunch, "target_names", None)
        if names is not None and not pd.api.types.is_numeric_dtype(pd.Series(names)):
            target = target.map(dict(enumerate(str(name) for name in names)))
        if self._config.target in frame.columns:
            raise DataError(
                f"dataset.target: {self._config.target!r} is a feature of {self._config.name}; choose another name"
            )
        frame[self._config.target] = target
        return frame


def _field_name(column: str) -> str:
    return re.sub(r"\W+", "_", re.sub(r"\(.*?\)", "", column).strip().lower())
