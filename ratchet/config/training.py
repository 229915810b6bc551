"""The config of one training run, and the sections of it that say how a model is made and judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from ratchet.config.datasets import Dataset
from ratchet.config.embed import AnyEmbed, Embed
from ratchet.config.section import Section
from ratchet.config.tasks import CLASSIFICATION_METRICS, LABELLED, LOSSES, METRICS, REGRESSION_METRICS, TaskName
from ratchet.errors import nearest


class Split(Section):
    """How the holdout is set apart."""

    test_size: float = Field(default=0.2, gt=0, lt=1)
    stratify: bool = True


class Train(Section):
    """The estimator, by dotted path, its hyper-parameters, and where its fit begins."""

    estimator: str = Field(pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$")
    params: dict[str, Any] = Field(default_factory=dict)
    threshold: Literal["default", "cost"] = Field(
        default="default", description="cost answers with the class that costs least, by cross-validation."
    )
    epochs: int = Field(default=1, ge=1, description="Passes over the training rows, with dataset.batch_rows.")
    mode: Literal["scratch", "warm_start"] = Field(
        default="scratch", description="warm_start goes on from the champion, for estimators that can."
    )


class Evaluate(Section):
    """What is measured on the holdout, and the floor below which nothing is promoted."""

    primary_metric: str
    minimum: float | None = Field(default=None, description="The floor, for a score (more is better).")
    maximum: float | None = Field(default=None, description="The ceiling, for a loss (less is better).")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind the interval.")

    @field_validator("primary_metric")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
        if value not in known:
            raise ValueError(f"unknown metric {value!r}{nearest(value, known)}")
        return value

    @model_validator(mode="after")
    def _limit_fits_metric(self) -> Self:
        if self.primary_metric in LOSSES and self.minimum is not None:
            raise ValueError(f"{self.primary_metric} is a loss (less is better): set 'maximum', not 'minimum'")
        if self.primary_metric not in LOSSES and self.maximum is not None:
            raise ValueError(f"{self.primary_metric} is a score (more is better): set 'minimum', not 'maximum'")
        return self


# About the same effect for each method: a shift of half a standard deviation (docs/reference/drift.md).
_DRIFT_THRESHOLDS = {"psi": 0.2, "ks": 0.2, "jensen_shannon": 0.2, "chi_square": 0.5}


class Drift(Section):
    """When new rows count as drifted away from what the champion was trained on."""

    method: Literal["psi", "ks", "jensen_shannon", "chi_square"] = "psi"
    threshold: float | None = Field(
        default=0.2, gt=0, description="The effect from which on a column drifts; null asks for significance alone."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="The level over all that a report tests.")
    share: float = Field(default=0.5, gt=0, le=1, description="Share of drifted columns that makes a data set drifted.")
    domain_auc: float | None = Field(
        default=0.65,
        ge=0.5,
        lt=1,
        description="The AUC from which on the domain classifier sees drift; null: left out.",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_threshold(cls, data: Any) -> Any:
        if isinstance(data, dict) and "threshold" not in data and data.get("method") in _DRIFT_THRESHOLDS:
            return {**data, "threshold": _DRIFT_THRESHOLDS[data["method"]]}
        return data

    def threshold_of(self, method: str) -> float | None:
        """The threshold of a column that takes another method than the config's, as a category does with ks."""
        return self.threshold if method == self.method or self.threshold is None else _DRIFT_THRESHOLDS[method]


class Promote(Section):
    """What a challenger has to show before it becomes the champion."""

    policy: Literal["better", "not_worse", "always"] = "better"
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the interval of the difference.")
    margin: float = Field(
        default=0.0, ge=0, description="For not_worse: the loss that is accepted, in the metric's unit."
    )
    bootstrap: int = Field(default=2000, ge=100, le=100_000, description="Resamples behind the interval.")
    latency_ms: float = Field(default=100.0, gt=0, description="The most that one row may take, as the median.")
    reference_margin: float | None = Field(
        default=0.1,
        ge=0,
        description="What production may cost on the reference holdout, in the metric's unit; null does not look.",
    )

    @model_validator(mode="after")
    def _margin_fits_policy(self) -> Self:
        if self.policy == "not_worse" and self.margin == 0:
            raise ValueError("policy not_worse needs a margin above 0: the loss that is accepted")
        if self.policy != "not_worse" and self.margin > 0:
            raise ValueError(f"policy {self.policy} takes no margin; only not_worse does")
        return self


class TrainingConfig(Section):
    """One training run, from data to the decision about Production."""

    pipeline: Literal["training"] = "training"
    model: str = Field(pattern=r"^[a-zA-Z][\w-]*$", description="The registered model's name.")
    task: TaskName = "classification"
    seed: int = Field(default=42, ge=0, lt=2**32)
    dataset: Dataset
    split: Split = Split()
    embed: AnyEmbed = Embed()
    train: Train
    evaluate: Evaluate
    drift: Drift = Drift()
    promote: Promote = Promote()

    @model_validator(mode="after")
    def _metric_fits_task(self) -> Self:
        metrics, metric = METRICS[self.task], self.evaluate.primary_metric
        if metric not in metrics:
            raise ValueError(f"evaluate.primary_metric: {metric!r} does not measure {self.task}{nearest('', metrics)}")
        if metric == "cost" and self.dataset.costs is None:
            raise ValueError("evaluate.primary_metric: cost needs dataset.costs, what each kind of mistake costs")
        return self

    @model_validator(mode="after")
    def _threshold_has_costs(self) -> Self:
        if self.train.threshold == "cost" and (self.task not in LABELLED or self.dataset.costs is None):
            raise ValueError("train.threshold: cost needs a task with classes, and dataset.costs")
        return self

    @model_validator(mode="after")
    def _data_fit_task(self) -> Self:
        if self.task == "forecasting" and (not self.dataset.time or not self.dataset.window):
            raise ValueError("dataset: forecasting needs 'time', the column that orders the rows, and 'window'")
        if self.task == "forecasting" and self.dataset.window and self.dataset.window.horizon < 1:
            raise ValueError("dataset.window.horizon: forecasting looks 1 row ahead at least")
        return self

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if getattr(self.dataset, "batch_rows", None) is None:
            if self.train.epochs > 1:
                raise ValueError("train.epochs: only batches are seen more than once; set dataset.batch_rows")
            return self
        for what in _whole_only(self):
            raise ValueError(f"dataset.batch_rows: {what} needs all rows at once; change it, or leave batch_rows out")
        return self


def _whole_only(config: TrainingConfig) -> Iterator[str]:
    """What of a config cannot be done batch by batch."""
    if config.pipeline != "training":
        yield f"pipeline: {config.pipeline}"
    if config.embed.kind != "tabular":
        yield f"embed.kind: {config.embed.kind}"
    elif config.embed.scaler == "robust":
        yield "embed.scaler: robust"
    if config.train.mode == "warm_start":
        yield "train.mode: warm_start"
    if config.train.threshold == "cost":
        yield "train.threshold: cost"
    for name, rule in config.dataset.columns.items():
        if rule.type in ("text", "time"):
            yield f"dataset.columns.{name}.type: {rule.type}"


def config_hash(config: BaseModel) -> str:
    """The first 12 hex digits of the SHA-256 of the config's canonical JSON."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
