"""The config of a simulation: a stream of requests, the labels that follow it, and the drifts that come over it."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from ratchet.config import LABELLED, Dataset, Section, TaskName

# A class as a config names it: by its text, also where the data has whole numbers.
ClassName = Annotated[str, BeforeValidator(str), WithJsonSchema({"type": ["string", "integer"]})]


class Stream(Section):
    """The requests: how many rows, how fast, and how far from the rows of the data set."""

    rows: int = Field(ge=1, le=10_000_000)
    rate: float = Field(default=0.0, ge=0, description="Requests a second; 0 sends the next when an answer has come.")
    jitter: float = Field(
        default=0.1, ge=0, le=10, description="Gaussian noise on every number, in its standard deviations."
    )
    batch: int = Field(default=1, ge=1, le=10_000, description="Rows a request; 1 asks /predict, more /predict_batch.")


class Labels(Section):
    """The truth as it comes back: which rows get a label, when, and how wrong it is."""

    share: float = Field(default=1.0, ge=0, le=1, description="Share of the rows that get a label at all.")
    delay: int = Field(default=30, ge=0, le=1_000_000, description="Predictions until it comes, as the mean.")
    noise: float = Field(default=0.0, ge=0, le=1, description="Share of the labels that name a random other class.")
    flip: dict[ClassName, ClassName] = Field(default_factory=dict, description="The class that stands for another.")


class _Drift(Section):
    at: int = Field(ge=0, description="The row, counted from 0, at which it begins.")
    ramp: int = Field(default=0, ge=0, description="Rows over which it comes; 0 is at once.")


class MeanShift(_Drift):
    """Columns move, each by so many of its standard deviations."""

    kind: Literal["mean_shift"]
    columns: dict[str, float] = Field(min_length=1, description="How far, by column.")

    @field_validator("columns")
    @classmethod
    def _moves(cls, value: dict[str, float]) -> dict[str, float]:
        for column, size in value.items():
            if not math.isfinite(size) or size == 0:
                raise ValueError(f"{column}: got {size:g}: expected a number that moves the column")
        return value


class Rotation(_Drift):
    """Pairs of columns turn around their means, in units of their standard deviations."""

    kind: Literal["rotation"]
    angle: float = Field(gt=-360, lt=360, description="Degrees, from the first column of a pair to the second.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="Pairs, one after the other; all numbers in their order where it is left out."
    )

    @field_validator("columns")
    @classmethod
    def _in_pairs(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(value) % 2 or len(set(value)) < len(value)):
            raise ValueError(f"got {', '.join(value) or 'nothing'}: expected pairs of different columns")
        return value


class NewCategory(_Drift):
    """A share of the rows has a category that the data set does not know."""

    kind: Literal["new_category"]
    column: str
    category: str = Field(min_length=1)
    share: float = Field(default=1.0, gt=0, le=1)


class ClassPrior(_Drift):
    """The classes come in other shares; those that are not named do not come at all."""

    kind: Literal["class_prior"]
    priors: dict[ClassName, Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)

    @field_validator("priors")
    @classmethod
    def _sum_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        if abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {sum(value.values()):g}, expected 1")
        return value


DriftKind = Annotated[MeanShift | Rotation | NewCategory | ClassPrior, Field(discriminator="kind")]


class SimulationConfig(Section):
    """A stream of rows like those of a data set, sent at a running service, with labels that come later."""

    pipeline: Literal["simulation"]
    model: str = Field(pattern=r"^[a-zA-Z][\w-]*$", description="The model that the service has to serve.")
    task: TaskName = "classification"
    seed: int = Field(default=42, ge=0, lt=2**32)
    dataset: Dataset
    stream: Stream
    labels: Labels = Labels()
    drift: tuple[DriftKind, ...] = ()

    @model_validator(mode="after")
    def _drifts_begin_in_time(self) -> Self:
        for position, drift in enumerate(self.drift):
            if drift.at >= self.stream.rows:
                raise ValueError(
                    f"drift.{position}.at: {drift.kind} begins at row {drift.at}, but the stream ends with row"
                    f" {self.stream.rows - 1} (stream.rows {self.stream.rows})"
                )
        return self

    @model_validator(mode="after")
    def _classes_have_a_task(self) -> Self:
        if self.task in LABELLED:
            return self
        if self.labels.flip:
            raise ValueError("labels.flip: a regression has no classes to flip; leave it out")
        if any(isinstance(drift, ClassPrior) for drift in self.drift):
            raise ValueError("drift: a regression has no classes, so no class_prior; leave it out")
        return self
