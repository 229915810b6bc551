"""What each column may hold: declared in the config, completed from the data, checked by Pandera."""

from __future__ import annotations

import re
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Column, Costs, Dataset, TaskName
from ratchet.data.columns import row_number, typed_target, typed_values
from ratchet.errors import DataError, nearest

# A category that is missing.
MISSING = ""


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
    type: Literal["number", "category", "text", "time"]
    nullable: bool
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    rule: Column = Column()


class Schema(BaseModel):
    """The features and the target of a data set; it travels with the model.

    Attributes
    ----------
    features: in the order the model takes them.
    labels: the classes, sorted; None where a number is predicted.
    task: what the model is for; None in packages that were made before schemas said so.
    time: the feature that orders the rows; None where nothing does.
    positive: of two classes, the one that f1, recall and the like measure.
    costs: what mistakes cost, where there are two classes.
    """

    model_config = ConfigDict(frozen=True)

    features: tuple[Field, ...]
    target: str
    labels: tuple[str | int, ...] | None = None
    task: TaskName | None = None
    time: str | None = None
    positive: str | int | None = None
    costs: Costs | None = None

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


def check_frame(frame: pd.DataFrame, config: Dataset, task: TaskName) -> tuple[pd.DataFrame, Schema]:
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
    frame = selected(frame, config)
    features = [column for column in frame.columns if column != config.target]
    rules = {column: rule_of(config, column) for column in features}
    typed = pd.DataFrame({column: typed_values(frame[column], rules[column]) for column in features}, index=frame.index)
    check_rules(typed, config)
    typed[config.target], labels = typed_target(frame[config.target], task)
    fields = tuple(field_of(typed[column], rules[column]) for column in features)
    return typed.reset_index(drop=True), schema_of(fields, labels, config, task)


def field_of(values: pd.Series[Any], rule: Column) -> Field:
    """Return the field of a column with typed values, under the rule of the config."""
    common: dict[str, Any] = {"name": str(values.name), "nullable": bool(values.isna().any()), "rule": rule}
    if values.dtype == "float64":
        return Field(type="number", minimum=float(values.min()), maximum=float(values.max()), **common)
    if rule.type in ("text", "time"):
        return Field(type=rule.type, **common)
    return Field(type="category", categories=tuple(sorted(values.dropna().unique().tolist())), **common)


def schema_of(
    fields: tuple[Field, ...], labels: tuple[str | int, ...] | None, config: Dataset, task: TaskName
) -> Schema:
    """The schema of columns that are known.

    Parameters
    ----------
    fields: the features, in their order.
    labels: the classes, sorted; None where a number is predicted.
    config: the ``dataset`` section.
    task: what the target is for.

    Raises
    ------
    DataError: the config's positive class is none, or there are not two.
    """
    return Schema(
        features=fields,
        target=config.target,
        labels=labels,
        task=task,
        time=config.time,
        positive=_positive(config, labels),
        costs=config.costs,
    )


def selected(frame: pd.DataFrame, config: Dataset) -> pd.DataFrame:
    """The columns that the config keeps.

    Raises
    ------
    DataError: it names a column that is not there, or nothing is left to predict from.
    """
    known = [str(column) for column in frame.columns]
    times = [config.time] if config.time else []
    named = {"target": [config.target], "time": times, "drop": config.drop, "columns": config.columns}
    for key, names in named.items():
        for name in names:
            if name not in known:
                if len(known) == 1 and re.search(r"[;\t|]", known[0]):
                    raise DataError(f"the header has one column, {known[0]!r}: set dataset.separator")
                raise DataError(f"dataset.{key}: there is no column {name!r}{nearest(name, known)}")
    selected = frame.drop(columns=list(config.drop))
    if selected.shape[1] < 2:
        raise DataError(f"there is no feature beside the target {config.target!r}")
    return selected


def rule_of(config: Dataset, column: str) -> Column:
    """What the config says of a column."""
    rule = config.columns.get(column, Column())
    return rule.model_copy(update={"type": "time"}) if column == config.time else rule


def check_rules(frame: pd.DataFrame, config: Dataset) -> None:
    """Hold typed features against the rules of the config.

    Parameters
    ----------
    frame: some rows; the index counts those of the whole data set from 0.
    config: the ``dataset`` section.

    Raises
    ------
    DataError: with the column, the rule, and an example row.
    """
    ruled = [name for name in frame.columns if _checks_something(config.columns.get(name))]
    if not ruled:
        return
    import pandera.pandas as pa

    rules = {}
    for name in ruled:
        rule = config.columns[name]
        checks = []
        if rule.minimum is not None:
            checks.append(pa.Check.ge(rule.minimum))
        if rule.maximum is not None:
            checks.append(pa.Check.le(rule.maximum))
        if rule.categories is not None:
            checks.append(pa.Check.isin(list(rule.categories)))
        rules[name] = pa.Column(nullable=rule.nullable, checks=checks)
    try:
        pa.DataFrameSchema(rules).validate(frame[ruled], lazy=True)
    except pa.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        got = frame[case["column"]].loc[[case["index"]]].tolist()[0]
        raise DataError(
            f"column {case['column']!r}: breaks the rule {case['check']}: got {got!r}"
            f" in row {row_number(case['index'])} ({len(error.failure_cases)} such)"
        ) from None


def _checks_something(rule: Column | None) -> bool:
    return rule is not None and (
        not rule.nullable or any(value is not None for value in (rule.minimum, rule.maximum, rule.categories))
    )


def _positive(config: Dataset, labels: tuple[str | int, ...] | None) -> str | int | None:
    """Of two classes, the one that counts as positive: the config's, else the last, as scikit-learn has it."""
    wanted = config.positive
    if labels is not None and wanted is not None and wanted not in labels:
        hint = nearest(str(wanted), map(str, labels))
        raise DataError(f"dataset.positive: {wanted!r} is no class of {config.target!r}{hint}")
    if labels is None or len(labels) != 2:
        if wanted is not None or config.costs is not None:
            key = "positive" if wanted is not None else "costs"
            what = f"{len(labels)} classes" if labels else "a number"
            raise DataError(f"dataset.{key}: needs two classes, and the target {config.target!r} is {what}")
        return None
    return labels[-1] if wanted is None else wanted
