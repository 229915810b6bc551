"""What each column may hold: declared in the config, completed from the data, checked by Pandera."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Column, Dataset, Task
from ratchet.errors import DataError, nearest

# A category that is missing.
MISSING = ""
# A text column of which more than this share reads as numbers is a numeric column with faults in it.
_MOSTLY_NUMBERS = 0.5
# With more classes than this, the target is a number to predict and no label.
_MOST_CLASSES = 1000


class Field(BaseModel):
    """One column as the model knows it.

    Attributes
    ----------
    nullable: whether a value was missing in the data.
    minimum, maximum, categories: what was seen in the data. New rows may go beyond it: that is drift, not an error.
    rule: what the config declares; a row that breaks it is an error.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["number", "category"]
    nullable: bool
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    rule: Column = Column()


class Schema(BaseModel):
    """The features and the target of a data set; it travels with the model."""

    model_config = ConfigDict(frozen=True)

    features: tuple[Field, ...]
    target: str
    labels: tuple[str | int, ...] | None = None

    @property
    def feature_names(self) -> list[str]:
        """The feature columns, in the order the model takes them."""
        return [field.name for field in self.features]

    def select(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The feature columns as the model takes them, whatever the rows have been through.

        Numbers are float64 with NaN for a missing value. Categories are text in object columns, and a missing one is
        the empty text: a category like any other to the encoder, and one that ONNX has too. What the value was
        before (None from JSON or Parquet, NaN from CSV) makes no difference.

        Parameters
        ----------
        rows: shape (rows, >= features).

        Returns
        -------
        shape (rows, features).
        """
        columns = {}
        for field in self.features:
            values = rows[field.name]
            if field.type == "number":
                columns[field.name] = values.astype("float64")
            else:
                columns[field.name] = values.astype(object).where(values.notna(), MISSING)
        return pd.DataFrame(columns, index=rows.index)

    @property
    def numeric(self) -> bool:
        """Whether every feature is a number."""
        return all(field.type == "number" for field in self.features)


def check_frame(frame: pd.DataFrame, config: Dataset, task: Task) -> tuple[pd.DataFrame, Schema]:
    """Type and check raw rows.

    Parameters
    ----------
    frame: the rows as the source gave them.
    config: the ``dataset`` section, with the rules that the columns have to keep.
    task: classification or regression.

    Returns
    -------
    The typed frame (features in their order, then the target; numbers as float64, categories as text) and its schema.

    Raises
    ------
    DataError: with the column, the rule, and an example row.
    """
    frame = _selected(frame, config)
    features = [column for column in frame.columns if column != config.target]
    typed = pd.DataFrame(
        {column: _typed(frame[column], config.columns.get(column, Column())) for column in features}, index=frame.index
    )
    _check_rules(typed, config)
    typed[config.target], labels = _target(frame[config.target], task)
    schema = Schema(
        features=tuple(_field(typed[column], config.columns.get(column, Column())) for column in features),
        target=config.target,
        labels=labels,
    )
    return typed.reset_index(drop=True), schema


def _selected(frame: pd.DataFrame, config: Dataset) -> pd.DataFrame:
    known = [str(column) for column in frame.columns]
    for key, names in {"target": [config.target], "drop": config.drop, "columns": config.columns}.items():
        for name in names:
            if name not in known:
                if len(known) == 1 and re.search(r"[;\t|]", known[0]):
                    raise DataError(f"the header has one column, {known[0]!r}: set dataset.separator")
                raise DataError(f"dataset.{key}: there is no column {name!r}{nearest(name, known)}")
    selected = frame.drop(columns=list(config.drop))
    if selected.shape[1] < 2:
        raise DataError(f"there is no feature beside the target {config.target!r}")
    return selected


def _typed(values: pd.Series[Any], rule: Column) -> pd.Series[Any]:
    if values.isna().all():
        raise DataError(f"column {values.name!r}: every value is missing; name it in dataset.drop")
    if pd.api.types.is_numeric_dtype(values) and rule.type != "category":
        return _finite(values.astype("float64"))
    if rule.type == "category" or (rule.type is None and not _reads_as_numbers(values)):
        return values.map(_as_text, na_action="ignore").astype(object)
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = values[numbers.isna() & values.notna()]
    if len(wrong):
        raise DataError(
            f"column {values.name!r}: expected a number, got {wrong.iloc[0]!r} in row {_row(wrong.index[0])}"
            f" ({len(wrong)} such); mend it, or declare the column as type: category"
        )
    return _finite(numbers.astype("float64"))


def _finite(values: pd.Series[Any]) -> pd.Series[Any]:
    infinite = values.index[np.isinf(values)]
    if len(infinite):
        raise DataError(f"column {values.name!r}: expected a finite number, got infinity in row {_row(infinite[0])}")
    return values


def _reads_as_numbers(values: pd.Series[Any]) -> bool:
    present = values.dropna()
    return bool(pd.to_numeric(present, errors="coerce").notna().mean() > _MOSTLY_NUMBERS)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _row(index: Any) -> int:
    """A row's number as a person counts the rows under the header."""
    return int(index) + 1


def _check_rules(frame: pd.DataFrame, config: Dataset) -> None:
    import pandera.pandas as pa

    rules = {}
    for name in frame.columns:
        rule = config.columns.get(name, Column())
        checks = []
        if rule.minimum is not None:
            checks.append(pa.Check.ge(rule.minimum))
        if rule.maximum is not None:
            checks.append(pa.Check.le(rule.maximum))
        if rule.categories is not None:
            checks.append(pa.Check.isin(list(rule.categories)))
        rules[name] = pa.Column(nullable=rule.nullable, checks=checks)
    try:
        pa.DataFrameSchema(rules).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        got = frame[case["column"]].tolist()[int(case["index"])]
        raise DataError(
            f"column {case['column']!r}: breaks the rule {case['check']}: got {got!r}"
            f" in row {_row(case['index'])} ({len(error.failure_cases)} such)"
        ) from None


def _target(values: pd.Series[Any], task: Task) -> tuple[pd.Series[Any], tuple[str | int, ...] | None]:
    missing = values.index[values.isna()]
    if len(missing):
        raise DataError(f"target {values.name!r}: is missing in row {_row(missing[0])} ({len(missing)} such)")
    if task == "regression":
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        if numbers.isna().any():
            at = numbers.index[numbers.isna()][0]
            raise DataError(f"target {values.name!r}: expected a number, got {values[at]!r} in row {_row(at)}")
        return numbers, None
    if pd.api.types.is_float_dtype(values) and not (values % 1 == 0).all():
        some = values[values % 1 != 0].iloc[0]
        raise DataError(f"target {values.name!r}: {some:g} is no class; to predict a number, set task: regression")
    number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    labels = values.astype("int64") if number else values.map(_as_text).astype(object)
    classes = sorted(labels.unique().tolist())
    if len(classes) < 2:
        raise DataError(f"target {values.name!r}: has only one class, {classes[0]!r}; a classifier needs two at least")
    if len(classes) > _MOST_CLASSES:
        raise DataError(
            f"target {values.name!r}: has {len(classes)} classes; for a number to predict, set task: regression"
        )
    return labels, tuple(classes)


def _field(values: pd.Series[Any], rule: Column) -> Field:
    common: dict[str, Any] = {"name": str(values.name), "nullable": bool(values.isna().any()), "rule": rule}
    if values.dtype == "float64":
        return Field(type="number", minimum=float(values.min()), maximum=float(values.max()), **common)
    return Field(type="category", categories=tuple(sorted(values.dropna().unique().tolist())), **common)
