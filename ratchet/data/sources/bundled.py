"""The data sets that scikit-learn contains."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from ratchet.config import SklearnDataset
from ratchet.data.sources.frame import FrameSource
from ratchet.errors import DataError


class BundledSource(FrameSource[SklearnDataset]):
    """One of scikit-learn's data sets, the target last.

    Field names have no units and no blanks (``sepal length (cm)`` is ``sepal_length``); classes are their names.
    """

    def _load(self) -> pd.DataFrame:
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
