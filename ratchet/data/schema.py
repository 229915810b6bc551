"""The schema of a data set: declared in the config, completed from the data, checked by Pandera."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import LABELLED, Column, Costs, Dataset, TaskName
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.columns import classes_of, is_boolean, require_columns, require_value, row_number
from ratchet.data.target_column import typed_target
from ratchet.errors import DataError
from ratchet.nearest_names import nearest

# The text of a missing category.
MISSING = ""


class Field(BaseModel):
    """A feature column.

    Attributes
    ----------
    nullable: whether a value may be missing: one was in the data, or the config declares it.
    boolean: whether the values were True and False, which are 1 and 0.
    integer: whether the values were integers, and none was missing.
    minimum, maximum, categories: of the data. New rows may have other values, which is drift and not an error.
    longest: the number of characters of the longest text; None for other types.
    rule: of the config, with the missing words and the format of numbers; a row that breaks it is an error.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["number", "category", "text", "time"]
    nullable: bool
    boolean: bool = False
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    longest: int | None = None
    rule: Column = Column()

    @property
    def reader(self) -> ColumnReader:
        """The reader of the column's values."""
        rule = self.rule.model_copy(update={"type": self.type})
        return ColumnReader(self.name, rule, self.boolean, self.categories or ())


class Schema(BaseModel):
    """The features and the target of a data set, stored in the model's package.

    Attributes
    ----------
    features: in the order of the model's inputs.
    labels: the classes in order; None for a number to predict.
    task: None in packages from before schemas had a task.
    time: the feature that orders the rows; None where there is none.
    group: the columns that tell several series apart, features or not; empty for one series.
    positive: of two classes, the one that f1, recall and others measure.
    costs: of mistakes, where there are two classes.
    """

    model_config = ConfigDict(frozen=True)

    features: tuple[Field, ...]
    target: str
    labels: tuple[str | int, ...] | None = None
    task: TaskName | None = None
    time: str | None = None
    group: tuple[str, ...] = ()
    positive: str | int | None = None
    costs: Costs | None = None

    @property
    def feature_names(self) -> list[str]:
        """The feature columns, in the order of the model's inputs."""
        return [field.name for field in self.features]

    def select(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the feature columns in the types that the model takes.

        Numbers are float64, with NaN where missing. Others are text in object columns, with the empty text where
        missing (None from JSON or Parquet, NaN from CSV): a category for the encoder, which ONNX has too.
        """
        columns = {}
        for field in self.features:
            values = rows[field.name]
            if field.type == "number":
                columns[field.name] = values.astype("float64")
            else:
                columns[field.name] = values.astype(object).where(values.notna(), MISSING)
        return pd.DataFrame(columns, index=rows.index, copy=False)

    @property
    def numeric(self) -> bool:
        """Whether every feature is a number."""
        return all(field.type == "number" for field in self.features)


def check_frame(frame: pd.DataFrame, config: Dataset, task: TaskName) -> tuple[pd.DataFrame, Schema]:
    """Type and check the rows of a source.

    Returns
    -------
    The typed frame (features in their order, then the target; numbers as float64, categories as text) and its schema.

    Raises
    ------
    DataError: the column, the rule, and an example row.
    """
    frame = selected(frame, config)
    features = [column for column in frame.columns if column != config.target]
    for column in features:
        require_value(frame[column])
    typed = typed_columns(frame, config, task)
    check_rules(typed, config)
    labels = classes_of(set(typed[config.target].unique().tolist()), config.target) if task in LABELLED else None
    fields = tuple(
        field_of(
            typed[column],
            rule_of(config, column),
            boolean=is_boolean(frame[column]),
            integer=pd.api.types.is_integer_dtype(frame[column]),
        )
        for column in features
    )
    return typed.reset_index(drop=True), schema_of(fields, labels, config, task)


def typed_columns(frame: pd.DataFrame, config: Dataset, task: TaskName) -> pd.DataFrame:
    """Return the features in their order, then the target, each in the type that its rule gives.

    Raises
    ------
    DataError: the column, what was expected, and an example row.
    """
    readers = {column: ColumnReader(column, rule_of(config, column)) for column in frame.columns}
    columns = {
        column: readers[column].from_values(frame[column]) for column in frame.columns if column != config.target
    }
    typed = pd.DataFrame(columns, index=frame.index, copy=False)
    typed[config.target] = typed_target(frame[config.target], task, readers[config.target])
    return typed


def field_of(values: pd.Series[Any], rule: Column, *, boolean: bool, integer: bool) -> Field:
    """Return the field of a column with typed values; ``boolean`` and ``integer`` are of the values before."""
    nullable = rule.nullable is True or bool(values.isna().any())
    common: dict[str, Any] = {"name": str(values.name), "nullable": nullable, "rule": rule}
    if values.dtype == "float64":
        ends = {"minimum": float(values.min()), "maximum": float(values.max())}
        is_whole = integer and not bool(values.isna().any())
        return Field(type="number", boolean=boolean, integer=is_whole, **ends, **common)
    if rule.type == "time":
        return Field(type="time", **common)
    if rule.type == "text":
        return Field(type="text", longest=int(values.str.len().max()), **common)
    return Field(type="category", categories=tuple(sorted(values.dropna().unique().tolist())), **common)


def schema_of(
    fields: tuple[Field, ...], labels: tuple[str | int, ...] | None, config: Dataset, task: TaskName
) -> Schema:
    """Return the schema of fields and labels.

    Raises
    ------
    DataError: the config's positive class does not exist, or there are not two classes.
    """
    return Schema(
        features=fields,
        target=config.target,
        labels=labels,
        task=task,
        time=config.time,
        group=config.groups,
        positive=_positive(config, labels),
        costs=config.costs,
    )


def selected(frame: pd.DataFrame, config: Dataset) -> pd.DataFrame:
    """Return the columns that the config keeps.

    Raises
    ------
    DataError: the config names a column that does not exist, or there is no feature.
    """
    require_columns(frame.columns, [config.target], "target")
    require_columns(frame.columns, [config.time] if config.time else [], "time")
    require_columns(frame.columns, config.drop, "drop")
    require_columns(frame.columns, config.columns, "columns")
    kept = frame.drop(columns=list(config.drop))
    if kept.shape[1] < 2:
        raise DataError(f"there is no feature besides the target {config.target!r}")
    return kept


def check_rules(frame: pd.DataFrame, config: Dataset) -> None:
    """Check typed columns against the rules of the config; the index is the position of a row in the data set.

    Raises
    ------
    DataError: the column, the rule, and an example row.
    """
    rules = {name: config.columns.get(name, Column()) for name in frame.columns}
    checked = {
        name: rule
        for name, rule in rules.items()
        if rule.nullable is False or (rule.minimum, rule.maximum, rule.categories) != (None, None, None)
    }
    if not checked:
        return
    for name, rule in checked.items():
        if (rule.minimum, rule.maximum) != (None, None) and not pd.api.types.is_numeric_dtype(frame[name]):
            raise DataError(f"column {name!r}: minimum and maximum need numbers, got text: remove them, or its type")
    import pandera.pandas as pa

    checks: dict[str, Any] = {"minimum": pa.Check.ge, "maximum": pa.Check.le, "categories": pa.Check.isin}
    columns = {}
    for name, rule in checked.items():
        limits = {key: getattr(rule, key) for key in checks}
        active = [checks[key](limit) for key, limit in limits.items() if limit is not None]
        columns[name] = pa.Column(nullable=rule.nullable is not False, checks=active)
    try:
        pa.DataFrameSchema(columns).validate(frame[list(columns)], lazy=True)
    except pa.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        got = frame[case["column"]].loc[[case["index"]]].tolist()[0]
        raise DataError(
            f"column {case['column']!r}: breaks the rule {case['check']}: got {got!r}"
            f" in row {row_number(case['index'])} ({len(error.failure_cases)} such)"
        ) from None


def _positive(config: Dataset, labels: tuple[str | int, ...] | None) -> str | int | None:
    """Return the positive one of two classes: that of the config, else the last, as in scikit-learn."""
    wanted = config.positive
    if labels is not None and wanted is not None and wanted not in labels:
        hint = nearest(str(wanted), map(str, labels))
        raise DataError(f"dataset.positive: {wanted!r} is not a class of {config.target!r}{hint}")
    if labels is None or len(labels) != 2:
        if wanted is not None or config.costs is not None:
            key = "positive" if wanted is not None else "costs"
            kind = f"{len(labels)} classes" if labels else "a number"
            raise DataError(f"dataset.{key}: needs two classes, and the target {config.target!r} is {kind}")
        return None
    return labels[-1] if wanted is None else wanted
