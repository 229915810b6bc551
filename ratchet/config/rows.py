"""The columns of a data set, for every source."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ratchet.config.section import Section


class Column(Section):
    """The rule of a column; what is left out is inferred from the data."""

    type: Literal["number", "category", "text", "time"] | None = Field(
        default=None, description="A text is free text, a category one of some values, a time is in ISO 8601."
    )
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool = True


class Costs(Section):
    """The costs of mistakes with two classes, in a currency or any other unit."""

    false_negative: float = Field(gt=0, description="A positive row that is predicted as negative.")
    false_positive: float = Field(gt=0, description="A negative row that is predicted as positive.")


class Window(Section):
    """The past values of a series in each row."""

    lags: dict[str, tuple[int, ...]] = Field(
        min_length=1, description="Rows back, by column: {count: [1, 2, 24]} adds count_lag_1, …"
    )
    horizon: int = Field(
        default=1, ge=0, description="Rows from the last known one to the predicted one; 0 for the row itself."
    )
    known: tuple[str, ...] = Field(
        default=(), description="Columns whose value at the predicted time is known in advance, such as a holiday."
    )

    @model_validator(mode="after")
    def _lags_are_past(self) -> Self:
        for column, lags in self.lags.items():
            if not lags or min(lags) < max(self.horizon, 1) or len(set(lags)) < len(lags):
                least = max(self.horizon, 1)
                raise ValueError(f"lags.{column}: got {list(lags)}, expected different whole numbers from {least} on")
        return self


class BaseDataset(Section):
    """The keys of every source."""

    target: str = Field(min_length=1, description="The column to predict.")
    drop: tuple[str, ...] = Field(default=(), description="Columns to leave out, such as ids of rows.")
    columns: dict[str, Column] = Field(default_factory=dict, description="Rules of the columns.")
    time: str | None = Field(default=None, description="The column of times; the newest rows are held out.")
    positive: str | int | None = Field(
        default=None, description="Of two classes, the one that f1, recall and others measure; default: the last."
    )
    costs: Costs | None = Field(default=None, description="Costs of mistakes, for the metric cost.")
    window: Window | None = Field(default=None, description="Past values in each row of a series.")

    @model_validator(mode="after")
    def _window_needs_time(self) -> Self:
        if self.window and not self.time:
            raise ValueError("window: needs 'time', the column that orders the rows")
        return self

    @model_validator(mode="after")
    def _needed_columns_are_kept(self) -> Self:
        for key, name in {"target": self.target, "time": self.time}.items():
            if name in self.drop:
                raise ValueError(f"drop: {name!r} is the {key}, which is needed; leave it out of drop")
        if self.time == self.target:
            raise ValueError(f"time: {self.time!r} is the target; name the column that orders the rows")
        return self
