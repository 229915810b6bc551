"""The config of continuous training: what a training run has, and when and on what it trains again by itself."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ratchet.config import METRICS, Section, TrainingConfig
from ratchet.errors import nearest


class Production(Section):
    """Which labelled rows of production a run takes."""

    holdout: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the newest labelled rows that no model is trained on."
    )
    most_rows: int = Field(default=100_000, ge=100, description="The newest so many; older ones are left out.")


class Debounce(Section):
    """How often a thing has to be seen before it counts: in k of the last n windows."""

    k: int = Field(default=2, ge=1)
    n: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _k_of_n(self) -> Self:
        if self.k > self.n:
            raise ValueError(f"k of the last n windows: {self.k} of {self.n} cannot be")
        return self


class DriftTrigger(Debounce):
    """Windows of production rows that have drifted away from what the champion was trained on."""

    window: int = Field(default=500, ge=20, le=20_000, description="Predictions in a window.")


class QualityDrop(Debounce):
    """Windows of labelled rows on which the champion is worse than it was on its holdout."""

    metric: str | None = Field(default=None, description="The primary metric where it is left out.")
    drop: float = Field(default=0.05, gt=0, description="In the metric's unit.")
    window: int = Field(default=100, ge=10, le=20_000, description="The newest labelled rows, so many.")
    step: int | None = Field(
        default=None, ge=1, description="New labels from one window to the next; as many as a window has, if left out."
    )
    minimum_rows: int = Field(default=30, ge=10, description="With fewer labelled rows there is no verdict.")


class Triggers(Section):
    """What begins a run. Each that is left out is off; with none at all, people begin runs."""

    every_k_labels: int | None = Field(default=None, ge=1)
    drift: DriftTrigger | None = None
    quality_drop: QualityDrop | None = None
    cron: str | None = Field(default=None, description="Five fields, UTC, such as '0 3 * * *'.")
    minimum_labels: int = Field(default=20, ge=1, description="New labels that a run needs, whatever begins it.")
    cooldown: float = Field(default=3600.0, ge=0, description="Seconds from the end of a run to the next.")
    interval: float = Field(default=10.0, gt=0, description="Seconds from one look of watch to the next.")

    @field_validator("cron")
    @classmethod
    def _can_fire(cls, value: str | None) -> str | None:
        if value is not None:
            from ratchet.config.cron import next_time

            next_time(value, 0.0)
        return value


class ContinuousTrainingConfig(TrainingConfig):
    """Training on the reference and on what production said, when a trigger says so."""

    pipeline: Literal["continuous_training"]  # type: ignore[assignment]
    production: Production = Production()
    triggers: Triggers = Triggers()
    report: bool = Field(default=True, description="Whether watch has a report drawn after each run.")

    @model_validator(mode="after")
    def _trigger_metric_fits_task(self) -> Self:
        drop = self.triggers.quality_drop
        known = METRICS[self.task]
        if drop and drop.metric is not None and drop.metric not in known:
            hint = nearest(drop.metric, known)
            raise ValueError(f"triggers.quality_drop.metric: unknown metric {drop.metric!r}{hint}")
        return self


# What steps that serve both pipelines take.
AnyTrainingConfig = TrainingConfig | ContinuousTrainingConfig
