"""The config of a training run, with its sections of training, evaluation, drift and promotion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from ratchet.config.datasets import Dataset
from ratchet.config.embed import AnyEmbed, Embed
from ratchet.config.plain_values import AnyValue
from ratchet.config.section import Section
from ratchet.config.tasks import CLASSIFICATION_METRICS, LABELLED, LOSSES, METRICS, REGRESSION_METRICS, TaskName
from ratchet.nearest_names import nearest


class Split(Section):
    """The split into training rows and holdout."""

    test_size: float = Field(default=0.2, gt=0, lt=1)
    stratify: bool = True


class Train(Section):
    """The estimator, by dotted path, its hyper-parameters, and its initial state."""

    estimator: str = Field(pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$")
    params: dict[str, AnyValue] = Field(default_factory=dict)
    threshold: Literal["default", "cost"] = Field(
        default="default", description="cost predicts the class of least expected cost, by cross-validation."
    )
    epochs: int = Field(default=1, ge=1, description="Passes over the training rows, with dataset.batch_rows.")
    mode: Literal["scratch", "warm_start"] = Field(
        default="scratch", description="warm_start continues from the champion, for estimators that support it."
    )


class Evaluate(Section):
    """The metric on the holdout, and the limit that a promotion needs."""

    primary_metric: str
    minimum: float | None = Field(default=None, description="The lowest accepted score (more is better).")
    maximum: float | None = Field(default=None, description="The highest accepted loss (less is better).")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples for the interval.")

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


# The effect of a shift of half a standard deviation, for each method (docs/reference/drift.md).
_DRIFT_THRESHOLDS = {"psi": 0.2, "ks": 0.2, "jensen_shannon": 0.2, "chi_square": 0.5}


class Drift(Section):
    """When new rows have drifted from the training rows of the champion."""

    method: Literal["psi", "ks", "jensen_shannon", "chi_square"] = "psi"
    threshold: float | None = Field(
        default=0.2, gt=0, description="The effect from which a column has drifted; null: significance alone decides."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="The level over all tests of a report.")
    share: float = Field(
        default=0.5, gt=0, le=1, description="Share of drifted columns from which the data set is drifted."
    )
    domain_auc: float | None = Field(
        default=0.65,
        ge=0.5,
        lt=1,
        description="The AUC of the domain classifier from which there is drift; null: not computed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_threshold(cls, data: Any) -> Any:
        if isinstance(data, dict) and "threshold" not in data and data.get("method") in _DRIFT_THRESHOLDS:
            return {**data, "threshold": _DRIFT_THRESHOLDS[data["method"]]}
        return data

    def threshold_of(self, method: str) -> float | None:
        """Return the threshold of a column's method, which is not the config's for a category with ks."""
        return self.threshold if method == self.method or self.threshold is None else _DRIFT_THRESHOLDS[method]


class Promote(Section):
    """The conditions of a promotion."""

    policy: Literal["better", "not_worse", "always"] = "better"
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the interval of the difference.")
    margin: float = Field(default=0.0, ge=0, description="For not_worse: the accepted loss, in the metric's unit.")
    bootstrap: int = Field(default=2000, ge=100, le=100_000, description="Resamples for the interval.")
    latency_ms: float = Field(default=100.0, gt=0, description="The most processor time of one row.")
    reference_margin: float | None = Field(
        default=0.1,
        ge=0,
        description="The accepted loss on the reference holdout, in the metric's unit; null: not checked.",
    )

    @model_validator(mode="after")
    def _margin_fits_policy(self) -> Self:
        if self.policy == "not_worse" and self.margin == 0:
            raise ValueError("policy not_worse needs a margin above 0, the accepted loss")
        if self.policy != "not_worse" and self.margin > 0:
            raise ValueError(f"policy {self.policy} takes no margin; only not_worse does")
        return self


class Feedback(Section):
    """The labels of predictions."""

    audit_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of predictions, drawn at random, whose answers ask for a label; 0: none; null: not set.",
    )


class Tracking(Section):
    """What a run logs to MLflow in addition."""

    autolog: bool = Field(
        default=False, description="Whether MLflow's autologging logs the fit too, which takes seconds."
    )


class TrainingConfig(Section):
    """A training run, from the data to the decision on promotion."""

    pipeline: Literal["training"] = "training"
    model: str = Field(pattern=r"^[a-zA-Z][\w-]*$", max_length=150, description="The registered model's name.")
    task: TaskName = "classification"
    seed: int = Field(default=42, ge=0, lt=2**32)
    dataset: Dataset
    split: Split = Split()
    embed: AnyEmbed = Embed()
    train: Train
    evaluate: Evaluate
    drift: Drift = Drift()
    promote: Promote = Promote()
    feedback: Feedback = Feedback()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _metric_fits_task(self) -> Self:
        metrics, metric = METRICS[self.task], self.evaluate.primary_metric
        if metric not in metrics:
            hint = nearest(metric, metrics)
            raise ValueError(f"evaluate.primary_metric: {metric!r} does not measure {self.task}{hint}")
        if metric == "cost" and self.dataset.costs is None:
            raise ValueError("evaluate.primary_metric: cost needs dataset.costs, the cost of each kind of mistake")
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
            raise ValueError("dataset.window.horizon: forecasting needs a horizon of 1 step at least")
        return self

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if getattr(self.dataset, "batch_rows", None) is None:
            if self.train.epochs > 1:
                raise ValueError("train.epochs: more than one pass needs dataset.batch_rows")
            return self
        for key in _whole_only(self):
            raise ValueError(f"dataset.batch_rows: {key} needs all rows at once; change it, or leave batch_rows out")
        return self


def _whole_only(config: TrainingConfig) -> Iterator[str]:
    """Yield the keys that need all rows at once."""
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
    """Return the first 12 hexadecimal digits of the SHA-256 of the config's canonical JSON, without what is logged."""
    canonical = json.dumps(config.model_dump(mode="json", exclude={"tracking"}), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
