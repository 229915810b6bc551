"""The config of continuous training: a training run, its triggers, and its rows of production."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ratchet.config import METRICS, Section, TrainingConfig
from ratchet.nearest_names import nearest

# Fewer rows have no verdict on drift, in a trigger, a pipeline or a report.
SMALLEST_WINDOW = 20
# Fewer labelled rows have no verdict on quality, unless a config changes it.
FEWEST_LABELLED = 30


class Production(Section):
    """The labelled rows of production in a run."""

    holdout: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the labelled rows, the newest, that no model is trained on."
    )
    most_rows: int = Field(default=100_000, ge=100, description="Older rows are left out.")


class Debounce(Section):
    """A trigger fires if its condition holds in k of the last n windows."""

    k: int = Field(default=2, ge=1)
    n: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _k_of_n(self) -> Self:
        if self.k > self.n:
            raise ValueError(f"k of the last n windows: k is {self.k}, expected at most n, {self.n}")
        return self


class DriftTrigger(Debounce):
    """Drift of production rows from the training rows of the champion."""

    window: int = Field(default=500, ge=SMALLEST_WINDOW, le=20_000, description="Predictions in a window.")


class QualityDrop(Debounce):
    """The champion is worse on labelled rows of production than on its holdout."""

    metric: str | None = Field(default=None, description="Default: the primary metric.")
    drop: float = Field(default=0.05, gt=0, description="In the metric's unit.")
    window: int = Field(default=100, ge=10, le=20_000, description="Labelled rows in a window.")
    step: int | None = Field(
        default=None, ge=1, description="New labels from one window to the next; default: the size of a window."
    )
    minimum_rows: int = Field(
        default=FEWEST_LABELLED, ge=10, description="With fewer labelled rows, the window has no verdict."
    )


class Triggers(Section):
    """The triggers of a run; one that is left out is off."""

    every_k_labels: int | None = Field(default=None, ge=1)
    drift: DriftTrigger | None = None
    quality_drop: QualityDrop | None = None
    cron: str | None = Field(default=None, description="Five fields, UTC, such as '0 3 * * *'.")
    minimum_labels: int = Field(default=20, ge=1, description="New labels that a run needs, with any trigger.")
    cooldown: float = Field(default=3600.0, ge=0, description="Seconds from the end of a run to the next.")
    interval: float = Field(default=10.0, gt=0, description="Seconds between two checks of watch.")

    @field_validator("cron")
    @classmethod
    def _can_fire(cls, value: str | None) -> str | None:
        if value is not None:
            from ratchet.config.cron import next_time

            next_time(value, 0.0)
        return value


class ContinuousTrainingConfig(TrainingConfig):
    """Training on the reference and on labelled rows of production, when a trigger fires."""

    pipeline: Literal["continuous_training"]  # type: ignore[assignment]
    production: Production = Production()
    triggers: Triggers = Triggers()
    report: bool = Field(default=True, description="Whether watch writes a report after each run.")

    @model_validator(mode="after")
    def _trigger_metric_fits_task(self) -> Self:
        drop = self.triggers.quality_drop
        known = METRICS[self.task]
        if drop and drop.metric is not None and drop.metric not in known:
            hint = nearest(drop.metric, known)
            raise ValueError(f"triggers.quality_drop.metric: unknown metric {drop.metric!r}{hint}")
        return self


# The configs of steps that both pipelines have.
AnyTrainingConfig = TrainingConfig | ContinuousTrainingConfig
