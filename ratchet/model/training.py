"""Build the estimator that a config names, and fit it."""

from __future__ import annotations

import importlib
import inspect
import logging
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from ratchet.config import TaskName, Train
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, TrainingError, one_line
from ratchet.model.estimators import CostThresholdSearch
from ratchet.model.tasks import TASKS
from ratchet.nearest_names import nearest

logger = logging.getLogger(__name__)

# A config must not name arbitrary code to run, so estimators come from these packages only.
ALLOWED_PACKAGES = ("sklearn", "ratchet.estimators")
# Configs keep their names when modules move.
_IMPLEMENTED_IN = {"ratchet.estimators": "ratchet.model.estimators"}


def build_estimator(config: Train, task: TaskName, seed: int, schema: Schema | None = None) -> BaseEstimator:
    """Build an unfitted estimator with its hyper-parameters and seed.

    A hyper-parameter may itself be an estimator, written as ``{estimator: dotted.path, params: {…}}``.

    Parameters
    ----------
    seed: for every ``random_state`` that the config leaves open, also of nested estimators.
    schema: of the training rows; without it, the estimator can be checked, but not fitted if it needs the positive
        class or costs.

    Raises
    ------
    ConfigError: unknown or not allowed estimator, unknown hyper-parameter, or an estimator for another task.
    """
    estimator = TASKS[task].prepare(named_estimator(config), config.estimator, schema, config.threshold)
    params = estimator.get_params(deep=True)
    unset = [name for name, value in params.items() if name.rpartition("__")[2] == "random_state" and value is None]
    return estimator.set_params(**dict.fromkeys(unset, seed))


def named_estimator(config: Train) -> BaseEstimator:
    """Build the estimator exactly as the config names it: without a seed and not wrapped for its task.

    Raises
    ------
    ConfigError: unknown or not allowed estimator, or unknown hyper-parameter.
    """
    return _build(config.estimator, config.params, "train")


def fit_model(
    estimator: BaseEstimator,
    embedder: Pipeline,
    features: npt.NDArray[np.float64],
    target: npt.NDArray[Any],
    method: Literal["fit", "partial_fit"] = "fit",
) -> Pipeline:
    """Fit the estimator on embedded features, and join it with the embedder to one pipeline.

    Parameters
    ----------
    estimator: unfitted, or the one to continue with.
    features: the embedder's output, shape (rows, components).
    target: shape (rows,).

    Raises
    ------
    TrainingError: the estimator refuses its hyper-parameters or the data.
    """
    name = type(estimator).__name__
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            getattr(estimator, method)(features, target)
    except (ValueError, TypeError) as error:
        raise TrainingError(f"{name} could not be fitted: {one_line(error)}") from None
    for message in dict.fromkeys(one_line(warning.message) for warning in caught):
        logger.warning("%s: %s", name, message)
    if isinstance(estimator, CostThresholdSearch):
        estimator = estimator.best_estimator_
    return Pipeline([("embed", embedder), ("model", estimator)])


def _build(path: str, params: Mapping[str, Any], where: str) -> BaseEstimator:
    estimator_class = _estimator_class(path, where)
    known = inspect.signature(estimator_class).parameters
    for name in params:
        if name not in known:
            raise ConfigError(f"{where}.params: {path} has no hyper-parameter {name!r}{nearest(name, known)}")
    values = {name: _value(value, f"{where}.params.{name}") for name, value in params.items()}
    try:
        return estimator_class(**values)
    except TypeError as error:
        raise ConfigError(f"{where}.params: {path}: {one_line(error)}") from None


def _value(value: Any, where: str) -> Any:
    if isinstance(value, Mapping) and "estimator" in value and set(value) <= {"estimator", "params"}:
        return _build(str(value["estimator"]), value.get("params") or {}, where)
    return value


def _estimator_class(path: str, where: str) -> type[BaseEstimator]:
    module_name, _, class_name = path.rpartition(".")
    if not path.startswith(tuple(f"{package}." for package in ALLOWED_PACKAGES)):
        raise ConfigError(f"{where}.estimator: {path} is not from an allowed package ({', '.join(ALLOWED_PACKAGES)})")
    try:
        module = importlib.import_module(_IMPLEMENTED_IN.get(module_name, module_name))
    except ImportError:
        raise ConfigError(f"{where}.estimator: there is no module {module_name!r}") from None
    found = getattr(module, class_name, None)
    if found is None:
        known = [name for name, value in vars(module).items() if _is_estimator(value)]
        raise ConfigError(f"{where}.estimator: {module_name} has no {class_name!r}{nearest(class_name, known)}")
    if not _is_estimator(found):
        raise ConfigError(f"{where}.estimator: {path} is not an estimator with fit and predict")
    return found  # type: ignore[no-any-return]


def _is_estimator(value: Any) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, BaseEstimator)
        and hasattr(value, "fit")
        and hasattr(value, "predict")
    )
