"""The config of a simulation: a stream of requests, their labels, and drift."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from ratchet.config import LABELLED, Dataset, Section, TaskName

# A class by its text, also where the data have integers.
ClassName = Annotated[str, BeforeValidator(str), WithJsonSchema({"type": ["string", "integer"]})]


class Stream(Section):
    """The requests: the number of rows, the rate, and the noise."""

    rows: int = Field(ge=1, le=10_000_000)
    rate: float = Field(
        default=0.0, ge=0, description="Requests per second; 0 sends each request after the response to the one before."
    )
    jitter: float = Field(
        default=0.1, ge=0, le=10, description="Gaussian noise on every number, in standard deviations of the column."
    )
    batch: int = Field(
        default=1, ge=1, le=10_000, description="Rows per request; 1 is sent to /predict, more to /predict_batch."
    )


class Labels(Section):
    """The labels: for which rows, after which delay, and with how many errors."""

    share: float = Field(default=1.0, ge=0, le=1, description="Share of the rows with a label.")
    delay: int = Field(
        default=30, ge=0, le=1_000_000, description="Mean number of predictions before the label is sent."
    )
    noise: float = Field(default=0.0, ge=0, le=1, description="Share of the labels that are a random other class.")
    flip: dict[ClassName, ClassName] = Field(default_factory=dict, description="Labels to replace, by the class.")


class _Drift(Section):
    at: int = Field(ge=0, description="The first row with drift, from 0.")
    ramp: int = Field(default=0, ge=0, description="Rows until the full drift; 0: at once.")


class MeanShift(_Drift):
    """Columns are shifted, in their standard deviations."""

    kind: Literal["mean_shift"]
    columns: dict[str, float] = Field(min_length=1, description="The shift, by column.")

    @field_validator("columns")
    @classmethod
    def _are_shifts(cls, value: dict[str, float]) -> dict[str, float]:
        for column, size in value.items():
            if not math.isfinite(size) or size == 0:
                raise ValueError(f"{column}: got {size:g}: expected a finite number other than 0")
        return value


class Rotation(_Drift):
    """Pairs of columns are rotated around their means, in units of their standard deviations."""

    kind: Literal["rotation"]
    angle: float = Field(gt=-360, lt=360, description="Degrees, from the first column of a pair to the second.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="Pairs, one after the other; default: all numbers in their order."
    )

    @field_validator("columns")
    @classmethod
    def _in_pairs(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(value) % 2 or len(set(value)) < len(value)):
            raise ValueError(f"got {', '.join(value) or 'nothing'}: expected pairs of different columns")
        return value


class NewCategory(_Drift):
    """A share of the rows has a category that is not in the data set."""

    kind: Literal["new_category"]
    column: str
    category: str = Field(min_length=1)
    share: float = Field(default=1.0, gt=0, le=1)


class ClassPrior(_Drift):
    """The classes have other shares; those that are not named have none."""

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
    """A stream of rows like those of a data set, sent to a running service, with labels that follow."""

    pipeline: Literal["simulation"]
    model: str = Field(pattern=r"^[a-zA-Z][\w-]*$", description="The model that the service is expected to serve.")
    task: TaskName = "classification"
    seed: int = Field(default=42, ge=0, lt=2**32)
    dataset: Dataset
    stream: Stream
    labels: Labels = Labels()
    drift: tuple[DriftKind, ...] = ()

    @model_validator(mode="after")
    def _drift_begins_in_stream(self) -> Self:
        for position, drift in enumerate(self.drift):
            if drift.at >= self.stream.rows:
                raise ValueError(
                    f"drift.{position}.at: {drift.kind} begins at row {drift.at}, but the stream ends at row"
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
