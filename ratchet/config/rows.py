"""The columns of a data set, for every source."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from ratchet.config.section import Section


def _as_words(value: Any) -> Any:
    """Write the numbers of a list as text: YAML reads -999 as a number."""
    if not isinstance(value, list | tuple):
        return value
    return [str(item) if isinstance(item, int | float) and not isinstance(item, bool) else item for item in value]


Character = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, max_length=1)]
_Word = Annotated[str, StringConstraints(strip_whitespace=False)]
Missing = Annotated[Literal["pandas"] | tuple[_Word, ...], BeforeValidator(_as_words)]
Decimal = Literal[".", ","]


class Column(Section):
    """The rule of a column; what is left out is that of the data set, or inferred from the data."""

    type: Literal["number", "category", "text", "time"] | None = Field(
        default=None, description="A text is free text, a category one of some values, a time is in ISO 8601."
    )
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool | None = Field(
        default=None, description="Whether a value may be missing; None accepts in requests what the data have."
    )
    missing: Missing | None = Field(default=None, description="Words for a missing value, besides the empty field.")
    decimal: Decimal | None = Field(default=None, description="The character before the fraction of a number.")
    thousands: Character | None = Field(default=None, description="The character between groups of three digits.")

    @model_validator(mode="after")
    def _separators_differ(self) -> Self:
        _require_different(self.decimal or ".", self.thousands)
        return self


class Costs(Section):
    """The costs of mistakes with two classes, in a currency or any other unit."""

    false_negative: float = Field(gt=0, description="A positive row that is predicted as negative.")
    false_positive: float = Field(gt=0, description="A negative row that is predicted as positive.")


class Window(Section):
    """The past values of a series in each row."""

    lags: dict[str, tuple[int, ...]] = Field(
        min_length=1, description="Steps back, by column: {count: [1, 2, 24]} adds count_lag_1, …"
    )
    horizon: int = Field(
        default=1, ge=0, description="Steps from the last known row to the predicted one; 0 for the row itself."
    )
    known: tuple[str, ...] = Field(
        default=(), description="Columns whose value at the predicted time is known in advance, such as a holiday."
    )

    @property
    def lag_columns(self) -> dict[str, tuple[str, int]]:
        """The column and the number of steps back of each new column, such as count_lag_24."""
        return {f"{name}_lag_{lag}": (name, lag) for name, lags in self.lags.items() for lag in lags}

    @model_validator(mode="after")
    def _lags_are_past(self) -> Self:
        for column, lags in self.lags.items():
            if not lags or min(lags) < max(self.horizon, 1) or len(set(lags)) < len(lags):
                least = max(self.horizon, 1)
                raise ValueError(f"lags.{column}: got {list(lags)}, expected different whole numbers from {least} on")
        return self


def _require_different(decimal: str, thousands: str | None) -> None:
    if thousands == decimal:
        raise ValueError(f"thousands: {thousands!r} is the decimal character too; set decimal")
    if thousands is not None and (thousands.isdigit() or thousands in "+-eE"):
        raise ValueError(f"thousands: {thousands!r} is part of a number; expected a character such as ',' or ' '")


class BaseDataset(Section):
    """The keys of every source."""

    target: str = Field(min_length=1, description="The column to predict.")
    drop: tuple[str, ...] = Field(default=(), description="Columns to leave out, such as ids of rows.")
    columns: dict[str, Column] = Field(default_factory=dict, description="Rules of the columns.")
    missing: Missing = Field(
        default=(), description="Words for a missing value, besides the empty field; pandas: those of pandas.read_csv."
    )
    decimal: Decimal = Field(default=".", description="The character before the fraction, in numbers that are text.")
    thousands: Character | None = Field(default=None, description="The character between groups of three digits.")
    time: str | None = Field(default=None, description="The column of times; the newest rows are held out.")
    positive: str | int | None = Field(
        default=None, description="Of two classes, the one that f1, recall and others measure; default: the last."
    )
    costs: Costs | None = Field(default=None, description="Costs of mistakes, for the metric cost.")
    window: Window | None = Field(default=None, description="Past values in each row of a series.")
    group: str | tuple[str, ...] = Field(
        default=(), description="The columns that tell the series apart, such as store; a lag is of the same series."
    )
    fill: Literal["drop", "ffill"] | None = Field(
        default=None,
        description="Of a lag at a missing time: drop leaves its row out, ffill takes the newest value before.",
    )
    repeated: Literal["first", "last"] | None = Field(
        default=None, description="The row that is kept of several with one time in one series; else an error."
    )
    strict: bool = Field(default=False, description="Whether warnings about suspicious columns are errors.")

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns that tell the series apart; none for one series."""
        return (self.group,) if isinstance(self.group, str) else self.group

    @model_validator(mode="before")
    @classmethod
    def _groups_are_categories(cls, data: Any) -> Any:
        """Declare the columns of ``group`` as categories, since the number of a store is a name."""
        if not isinstance(data, dict) or not isinstance(data.get("columns", {}), dict):
            return data
        group = data.get("group") or ()
        names = group if isinstance(group, list | tuple) else (group,)
        declared = {name: {"type": "category"} for name in names if isinstance(name, str)}
        return {**data, "columns": declared | data.get("columns", {})} if declared else data

    @model_validator(mode="after")
    def _separators_differ(self) -> Self:
        for column in (Column(), *self.columns.values()):
            _require_different(column.decimal or self.decimal, column.thousands or self.thousands)
        return self

    @model_validator(mode="after")
    def _window_needs_time(self) -> Self:
        if self.window and not self.time:
            raise ValueError("window: needs 'time', the column that orders the rows")
        for key in ("group", "fill", "repeated"):
            if getattr(self, key) and not self.window:
                raise ValueError(f"{key}: needs 'window', the lags of a series")
        return self

    @model_validator(mode="after")
    def _groups_are_other_columns(self) -> Self:
        for name in self.groups:
            if name in (self.time, self.target):
                key = "time" if name == self.time else "target"
                raise ValueError(f"group: {name!r} is the {key}; name the column that tells the series apart")
        return self

    @model_validator(mode="after")
    def _needed_columns_are_kept(self) -> Self:
        for key, name in {"target": self.target, "time": self.time}.items():
            if name in self.drop:
                raise ValueError(f"drop: {name!r} is the {key}, which is needed; leave it out of drop")
        if self.time == self.target:
            raise ValueError(f"time: {self.time!r} is the target; name the column that orders the rows")
        return self
