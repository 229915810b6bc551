"""Warm start: training that keeps the champion's embedder and continues to fit its estimator."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.data import Schema
from ratchet.data.row_identities import RowIdentities
from ratchet.errors import ConfigError, TrainingError
from ratchet.model.estimators import CostThresholdSearch
from ratchet.model.package.sealed_package import Package
from ratchet.model.training import build_estimator, fit_model
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings


def require_can_continue(estimator: BaseEstimator, name: str) -> None:
    """Check that an estimator can be fitted further.

    Raises
    ------
    ConfigError: it has neither ``warm_start`` nor ``partial_fit``, or its ``warm_start`` requires the same rows.
    """
    if isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        raise ConfigError(
            f"train.mode: warm_start: {name} can continue on the same rows only, as scikit-learn documents;"
            " set train.mode: scratch, or choose another estimator"
        )
    if isinstance(estimator, CostThresholdSearch):
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
    """Return the version to continue from: the champion, if its estimator is of the same class; None for scratch.

    A champion whose package was written before rows had identities is not continued: which rows are new is unknown.

    Raises
    ------
    ConfigError: the config requires a warm start of an estimator that has none.
    """
    if config.train.mode == "scratch":
        return None
    estimator = build_estimator(config.train, config.task, config.seed)
    require_can_continue(estimator, config.train.estimator)
    champion = ProductionPointer(settings, config.model).current()
    if champion is None:
        return None
    package = fetch_package(settings, champion)
    same = type(package.model.named_steps["model"]) is type(estimator) and package.training_rows.has_identities
    return champion.version if same else None


def load_base(settings: Settings, model: str, version: str | None, schema: Schema) -> Package | None:
    """Return the package to continue from; None without a version, or if its columns differ from the schema's."""
    if version is None:
        return None
    package = fetch_package(settings, ProductionPointer(settings, model).get(version))
    same = [(f.name, f.type) for f in package.schema.features] == [(f.name, f.type) for f in schema.features]
    return package if same else None


def fit_challenger(
    estimator: BaseEstimator,
    embedder: Pipeline,
    features: pd.DataFrame,
    rows: pd.DataFrame,
    identities: RowIdentities,
    target: str,
    base: Package | None,
) -> Pipeline:
    """Fit an estimator from scratch, or continue to fit the champion's, and join it with the embedder.

    With ``warm_start`` the fit continues on all rows; an ensemble gets as many new members as the config has. With
    ``partial_fit`` alone, it continues on the rows that the champion was not fitted on.

    Parameters
    ----------
    estimator: unfitted, with the config's parameters.
    embedder: fitted; the champion's if there is a base.
    features: the embedder's output, shape (rows, components).
    rows, identities: the training rows, features and target, and their identities.
    base: the champion's package; None for scratch.

    Raises
    ------
    TrainingError: the estimator rejects its hyper-parameters or the data, such as an unknown class.
    """
    inputs, truth = features.to_numpy(), rows[target].to_numpy()
    if base is None:
        return fit_model(estimator, embedder, inputs, truth)
    continued = copy.deepcopy(base.model.named_steps["model"]).set_params(**estimator.get_params(deep=False))
    _require_known_classes(continued, truth)
    if _has_warm_start(continued):
        continued.set_params(warm_start=True)
        if hasattr(continued, "estimators_") and "n_estimators" in continued.get_params():
            continued.set_params(n_estimators=len(continued.estimators_) + estimator.get_params()["n_estimators"])
        model = fit_model(continued, embedder, inputs, truth)
        continued.set_params(warm_start=estimator.get_params()["warm_start"])
        return model
    new = ~base.training_rows.contains(identities, rows)
    if not new.any():
        return Pipeline([("embed", embedder), ("model", continued)])
    return fit_model(continued, embedder, inputs[new], truth[new], "partial_fit")


def _require_known_classes(continued: Any, truth: npt.NDArray[Any]) -> None:
    # An ensemble would accept other classes, and count its old members' votes for the wrong ones.
    known = set(continued.classes_.tolist()) if hasattr(continued, "classes_") else set(truth.tolist())
    differ = sorted(known ^ set(truth.tolist()), key=str)
    if differ:
        raise TrainingError(
            f"{type(continued).__name__} could not be fitted further: the class {differ[0]!r} is only in"
            f" {'the champion' if differ[0] in known else 'the rows'}; set train.mode: scratch"
        )


def _has_warm_start(estimator: Any) -> bool:
    return "warm_start" in inspect.signature(type(estimator)).parameters
