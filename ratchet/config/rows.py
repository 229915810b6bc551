"""What the columns of a data set are, whatever source they come from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ratchet.config.section import Section


class Column(Section):
    """What a column may hold; what is left out is inferred from the data."""

    type: Literal["number", "category", "text", "time"] | None = Field(
        default=None, description="A text is words to read, a category one of some values, a time is in ISO 8601."
    )
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool = True


class Costs(Section):
    """What a mistake costs, in a currency or any other unit, where there are two classes."""

    false_negative: float = Field(gt=0, description="A positive that is answered as the other class.")
    false_positive: float = Field(gt=0, description="The other class, answered as positive.")


class Window(Section):
    """How a series becomes rows that stand for themselves: each carries the past that the model may look at."""

    lags: dict[str, tuple[int, ...]] = Field(
        min_length=1, description="By column, how many rows back: {count: [1, 2, 24]} makes count_lag_1, …"
    )
    horizon: int = Field(
        default=1, ge=0, description="How many rows ahead is predicted; 0 where the row itself is judged."
    )
    known: tuple[str, ...] = Field(
        default=(), description="Columns whose value at the predicted time is known beforehand, such as a holiday."
    )

    @model_validator(mode="after")
    def _lags_are_past(self) -> Self:
        for column, lags in self.lags.items():
            if not lags or min(lags) < max(self.horizon, 1) or len(set(lags)) < len(lags):
                least = max(self.horizon, 1)
                raise ValueError(f"lags.{column}: got {list(lags)}, expected different whole numbers from {least} on")
        return self


class BaseDataset(Section):
    """What all sources share."""

    target: str = Field(min_length=1, description="The column to predict.")
    drop: tuple[str, ...] = Field(default=(), description="Columns to leave out, such as row ids.")
    columns: dict[str, Column] = Field(default_factory=dict, description="Rules that the columns have to keep.")
    time: str | None = Field(default=None, description="The column that orders the rows; the newest are held out.")
    positive: str | int | None = Field(
        default=None, description="Of two classes, the one that f1, recall and the like measure; else the last."
    )
    costs: Costs | None = Field(default=None, description="What mistakes cost, for the metric cost.")
    window: Window | None = Field(default=None, description="For a series: the past that each row carries.")

    @model_validator(mode="after")
    def _window_needs_time(self) -> Self:
        if self.window and not self.time:
            raise ValueError("window: rows that follow each other need 'time', the column that orders them")
        return self

    @model_validator(mode="after")
    def _keeps_what_it_needs(self) -> Self:
        for key, name in {"target": self.target, "time": self.time}.items():
            if name in self.drop:
                raise ValueError(f"drop: {name!r} is the {key}, which is needed; leave it out of drop")
        if self.time == self.target:
            raise ValueError(f"time: {self.time!r} is the target; name the column that orders the rows")
        return self
