"""Training that goes on from the champion: its embedder is kept, and its estimator fitted further."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.data import Schema, row_hashes
from ratchet.errors import ConfigError, TrainingError
from ratchet.model.estimators import CostThresholdClassifier
from ratchet.model.package.sealed_package import Package
from ratchet.model.training import build_estimator, fit_model
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings


def require_can_continue(estimator: BaseEstimator, name: str) -> None:
    """Refuse an estimator that cannot be fitted further.

    Raises
    ------
    ConfigError: it has neither ``warm_start`` nor ``partial_fit``, or its ``warm_start`` is for the same rows alone.
    """
    if isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        raise ConfigError(
            f"train.mode: warm_start: {name} can go on with the same rows only, as scikit-learn says of it;"
            " set train.mode: scratch, or choose another estimator"
        )
    if isinstance(estimator, CostThresholdClassifier):
        raise ConfigError(
            f"train.mode: warm_start: with train.threshold: cost, {name} is fitted once for each fold, from scratch;"
            " set train.mode: scratch, or train.threshold: default"
        )
    if not _has_warm_start(estimator) and not hasattr(estimator, "partial_fit"):
        raise ConfigError(
            f"train.mode: warm_start: {name} has neither the parameter warm_start nor partial_fit;"
            " set train.mode: scratch, or choose an estimator that has"
        )


def find_base(settings: Settings, config: TrainingConfig) -> str | None:
    """The version to go on from: the champion, where it is of the same kind; None to begin from scratch.

    Raises
    ------
    ConfigError: the config asks for a warm start of an estimator that has none.
    """
    if config.train.mode == "scratch":
        return None
    estimator = build_estimator(config.train, config.task, config.seed)
    require_can_continue(estimator, config.train.estimator)
    champion = ProductionPointer(settings, config.model).current()
    if champion is None:
        return None
    package = _fetch(settings, config.model, champion.version)
    return champion.version if type(package.model.named_steps["model"]) is type(estimator) else None


def load_base(settings: Settings, model: str, version: str | None, schema: Schema) -> Package | None:
    """The package to go on from; None where there is none, or where it takes other columns than these rows have."""
    if version is None:
        return None
    package = _fetch(settings, model, version)
    same = [(f.name, f.type) for f in package.schema.features] == [(f.name, f.type) for f in schema.features]
    return package if same else None


def fit_challenger(
    estimator: BaseEstimator,
    embedder: Pipeline,
    features: pd.DataFrame,
    rows: pd.DataFrame,
    target: str,
    base: Package | None,
) -> Pipeline:
    """Fit an estimator from scratch, or the champion's further, and join it with the embedder.

    With ``warm_start`` the fit begins where the last one ended, and sees all rows; an ensemble gets as many members
    again as the config asks for. With ``partial_fit`` alone, only the rows that the champion has not seen are added.

    Parameters
    ----------
    estimator: unfitted, with the config's parameters.
    embedder: fitted; the champion's, where there is a base.
    features: the embedder's output, shape (rows, components).
    rows: the training rows, features and target.
    target: the target's column.
    base: the champion's package; None begins from scratch.

    Raises
    ------
    TrainingError: the estimator refuses its hyper-parameters or the data, such as a class that it never saw.
    """
    inputs, truth = features.to_numpy(), rows[target].to_numpy()
    if base is None:
        return fit_model(estimator, embedder, inputs, truth)
    going_on = copy.deepcopy(base.model.named_steps["model"]).set_params(**estimator.get_params(deep=False))
    _require_known_classes(going_on, truth)
    if _has_warm_start(going_on):
        going_on.set_params(warm_start=True)
        if hasattr(going_on, "estimators_") and "n_estimators" in going_on.get_params():
            going_on.set_params(n_estimators=len(going_on.estimators_) + estimator.get_params()["n_estimators"])
        model = fit_model(going_on, embedder, inputs, truth)
        going_on.set_params(warm_start=estimator.get_params()["warm_start"])
        return model
    new = ~np.isin(row_hashes(rows), base.training_rows)
    if not new.any():
        return Pipeline([("embed", embedder), ("model", going_on)])
    return fit_model(going_on, embedder, inputs[new], truth[new], "partial_fit")


def _require_known_classes(going_on: Any, truth: npt.NDArray[Any]) -> None:
    """An ensemble would take other classes and give its old members' votes to the wrong ones, or fail to predict."""
    known = set(going_on.classes_.tolist()) if hasattr(going_on, "classes_") else set(truth.tolist())
    differ = sorted(known ^ set(truth.tolist()), key=str)
    if differ:
        raise TrainingError(
            f"{type(going_on).__name__} could not be fitted further: the class {differ[0]!r} is known to"
            f" {'the champion' if differ[0] in known else 'the rows'} alone; set train.mode: scratch"
        )


def _has_warm_start(estimator: Any) -> bool:
    return "warm_start" in inspect.signature(type(estimator)).parameters


def _fetch(settings: Settings, model: str, version: str) -> Package:
    return fetch_package(settings, ProductionPointer(settings, model).get(version))
