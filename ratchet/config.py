"""What a run does: one YAML file, validated before anything else happens."""

from __future__ import annotations

import hashlib
import json
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ratchet.errors import ConfigError, nearest

CLASSIFICATION_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "log_loss",
    "roc_auc",
)
REGRESSION_METRICS = ("rmse", "mae", "r2")
LOSSES = frozenset({"log_loss", "rmse", "mae"})

Task = Literal["classification", "regression"]


class Section(BaseModel):
    """A part of a config: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Column(Section):
    """What a column may hold; what is left out is inferred from the data."""

    type: Literal["number", "category"] | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool = True


class _Dataset(Section):
    target: str = Field(min_length=1, description="The column to predict.")
    drop: tuple[str, ...] = Field(default=(), description="Columns to leave out, such as row ids.")
    columns: dict[str, Column] = Field(default_factory=dict, description="Rules that the columns have to keep.")


class SklearnDataset(_Dataset):
    """A data set that scikit-learn brings along."""

    source: Literal["sklearn"]
    name: Literal["iris", "wine", "breast_cancer", "digits", "diabetes"]


class CsvDataset(_Dataset):
    """A CSV file with a header line."""

    source: Literal["csv"]
    path: Path
    separator: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = "utf-8"


class ParquetDataset(_Dataset):
    """A Parquet file."""

    source: Literal["parquet"]
    path: Path


Dataset = Annotated[SklearnDataset | CsvDataset | ParquetDataset, Field(discriminator="source")]


class Split(Section):
    """How the holdout is set apart."""

    test_size: float = Field(default=0.2, gt=0, lt=1)
    stratify: bool = True

    def keeps_shares(self, task: Task) -> bool:
        """Whether the split keeps the shares of the classes, which a regression does not have."""
        return self.stratify and task == "classification"


class Embed(Section):
    """The transformer in front of the estimator: impute, scale, one-hot, reduce."""

    scaler: Literal["standard", "minmax", "robust", "none"] = "standard"
    reducer: Literal["pca", "none"] = "pca"
    n_components: int | None = Field(default=None, ge=1, description="None keeps all that the data allow.")


class Train(Section):
    """The estimator, by dotted path, and its hyper-parameters."""

    estimator: str = Field(pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$")
    params: dict[str, Any] = Field(default_factory=dict)


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


class Drift(Section):
    """When new rows count as drifted away from what the champion was trained on."""

    method: Literal["psi"] = "psi"
    threshold: float = Field(default=0.2, gt=0)
    share: float = Field(default=0.5, gt=0, le=1, description="Share of drifted columns that makes a data set drifted.")


class Promote(Section):
    """What a challenger has to show before it becomes the champion."""

    policy: Literal["better", "not_worse", "always"] = "better"
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the interval of the difference.")
    margin: float = Field(
        default=0.0, ge=0, description="For not_worse: the loss that is accepted, in the metric's unit."
    )
    bootstrap: int = Field(default=2000, ge=100, le=100_000, description="Resamples behind the interval.")
    latency_ms: float = Field(default=100.0, gt=0, description="The most that one row may take, as the median.")

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
    task: Task = "classification"
    seed: int = Field(default=42, ge=0, lt=2**32)
    dataset: Dataset
    split: Split = Split()
    embed: Embed = Embed()
    train: Train
    evaluate: Evaluate
    drift: Drift = Drift()
    promote: Promote = Promote()

    @model_validator(mode="after")
    def _metric_fits_task(self) -> Self:
        metrics = CLASSIFICATION_METRICS if self.task == "classification" else REGRESSION_METRICS
        metric = self.evaluate.primary_metric
        if metric not in metrics:
            raise ValueError(
                f"evaluate.primary_metric: {metric!r} does not measure a {self.task}{nearest('', metrics)}"
            )
        return self


def config_hash(config: BaseModel) -> str:
    """The first 12 hex digits of the SHA-256 of the config's canonical JSON."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class _StrictLoader(yaml.SafeLoader):
    """YAML with two traps closed: a key given twice, and ``1e-3`` read as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader of our own
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {error.problem}") from None


def find_config(name: str, root: Path) -> Path:
    """The file a config name stands for: the path itself, else the name in ``configs/``.

    Parameters
    ----------
    name: a path, or a bare file name with or without ``.yaml``.
    root: the project folder, which holds ``configs/``.

    Raises
    ------
    ConfigError: there is no such file; names the nearest there is.
    """
    folder = root / "configs"
    names = (name, f"{name}.yaml")
    for candidate in [*(Path(n) for n in names), *(folder / n for n in names)]:
        if candidate.is_file():
            return candidate
    known = [path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")]
    raise ConfigError(f"no config file {name!r}, neither here nor in configs/{nearest(name, known)}")


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``data`` with each ``a.b=value`` set; the value is read as YAML.

    Raises
    ------
    ConfigError: an override without ``=``, or through a value that has no keys.
    """
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override}: expected key.key=value, such as train.params.C=0.1")
        node = result
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {override}: {key!r} is a value, it has no keys")
        node[keys[-1]] = _parse_yaml(text, f"--set {override}")
    return result


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read and validate a config file.

    Parameters
    ----------
    path: a YAML file.
    overrides: ``a.b=value`` texts, applied in order before validation.

    Raises
    ------
    ConfigError: the file cannot be read, is not a mapping, or breaks the schema; the message names file and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(data).__name__}")
    return parse_config(apply_overrides(data, overrides), str(path))


def parse_config(data: Mapping[str, Any], where: str = "config") -> TrainingConfig:
    """Validate a mapping as a config.

    Raises
    ------
    ConfigError: in one line, every key that is wrong and what was expected there.
    """
    try:
        return TrainingConfig.model_validate(data)
    except ValidationError as error:
        problems = [_explain(dict(problem)) for problem in error.errors()]
        raise ConfigError(f"{where}: {'; '.join(problems)}") from None


def _explain(problem: dict[str, Any]) -> str:
    loc = [str(part) for part in problem["loc"] if str(part) not in ("sklearn", "csv", "parquet")]
    key = ".".join(loc) or "(top level)"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(loc[-1], _known_keys(problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message if key == "(top level)" else f"{key}: {message}"
    return f"{key}: got {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    """The keys that are valid at a place, found by walking the models' annotations."""
    current: Any = TrainingConfig
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = _unwrap(current.model_fields[str(part)].annotation)
        elif isinstance(current, list):
            current = next((m for m in current if part in get_args(m.model_fields["source"].annotation)), None)
        elif get_origin(current) is dict:
            current = _unwrap(get_args(current)[1])
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _unwrap(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return [arg for arg in get_args(annotation) if arg is not type(None)]
    return annotation
