"""Training that continues from the champion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from ratchet.data.row_identities import RowIdentities, identify
from ratchet.data.training_rows import TrainingRows
from ratchet.errors import ConfigError, TrainingError
from ratchet.model.embedding import embed
from ratchet.model.package.sealed_package import Package, load_package, write_package
from ratchet.model.training import build_estimator
from ratchet.registry.warm_start import find_base, fit_challenger, load_base, require_can_continue
from ratchet.settings import Settings
from tests.fitted import Trained, baseline, packaged, registered

ESTIMATORS = {
    "logistic": "{estimator: sklearn.linear_model.LogisticRegression, params: {warm_start: true, max_iter: 500}}",
    "sgd": "{estimator: sklearn.linear_model.SGDClassifier, params: {loss: log_loss}}",
    "forest": "{estimator: sklearn.ensemble.RandomForestClassifier, params: {n_estimators: 10}}",
    "bayes": "{estimator: sklearn.naive_bayes.GaussianNB}",
    "tree": "{estimator: sklearn.tree.DecisionTreeClassifier}",
}


def trained_by(kind: str, *overrides: str) -> Trained:
    return baseline(f"train={ESTIMATORS[kind]}", *overrides)


def identities_of(trained: Trained, rows: pd.DataFrame) -> RowIdentities:
    """Those of the training rows, and as rows of production those after them or with a shifted feature."""
    n_data = len(trained.train) if len(rows) >= len(trained.train) else 0
    new = identify(rows.iloc[n_data:], trained.schema.target, "production", np.arange(len(rows) - n_data))
    known = trained.train_identities.select(np.full(len(trained.train), bool(n_data)))
    return RowIdentities(
        known.source, np.append(known.ids, new.ids), np.append(known.contents, new.contents), len(known)
    )


def package_of(trained: Trained, rows: pd.DataFrame | None = None) -> Package:
    """Return a package with what a warm start reads."""
    rows = trained.train if rows is None else rows
    seen = TrainingRows.of(identities_of(trained, rows))
    nothing: Any = None
    return Package(Path(), "", trained.model, trained.schema, nothing, nothing, seen, None)


def go_on(trained: Trained, rows: pd.DataFrame, base: Package | None) -> Pipeline:
    """Do the work of the steps embed and train."""
    config = trained.config
    embedder = base.model["embed"] if base else trained.model["embed"]
    estimator = build_estimator(config.train, config.task, config.seed)
    features = embed(embedder, rows, trained.schema)
    return fit_challenger(
        estimator, embedder, features, rows, identities_of(trained, rows), trained.schema.target, base
    )


def moved(trained: Trained, count: int = 40) -> pd.DataFrame:
    """Return new rows with a shifted feature."""
    rows = trained.train.head(count).copy()
    rows["sepal_length"] += 2.0
    return rows


def accuracy(model: Pipeline, rows: pd.DataFrame, trained: Trained) -> float:
    return float((model.predict(trained.schema.select(rows)) == rows[trained.schema.target]).mean())


@pytest.mark.parametrize("kind", ["logistic", "sgd", "forest", "bayes"])
def test_a_continued_fit_learns_the_new_rows_and_does_not_change_the_champion(kind: str) -> None:
    champion = trained_by(kind)
    base = package_of(champion)
    features = champion.schema.select(champion.holdout)
    before = base.model.predict_proba(features)
    rows = pd.concat([champion.train, moved(champion)], ignore_index=True)
    model = go_on(champion, rows, base)
    assert model["embed"] is base.model["embed"], "the champion's embedder is kept"
    assert accuracy(model, champion.holdout, champion) > 0.8
    assert accuracy(model, moved(champion), champion) > 0.5
    assert not np.array_equal(model.predict_proba(features), before)
    assert np.array_equal(base.model.predict_proba(features), before)


def test_a_linear_fit_continues_from_the_last_coefficients(iris: Trained) -> None:
    champion = trained_by("logistic")
    model = go_on(champion, champion.train, package_of(champion))
    assert model["model"].n_iter_[0] < champion.model["model"].n_iter_[0] / 2
    assert model["model"].get_params() == champion.model["model"].get_params()
    assert accuracy(model, iris.holdout, iris) == accuracy(champion.model, iris.holdout, iris)


def test_a_fit_continues_without_warm_start_in_its_parameters_and_keeps_them() -> None:
    champion = baseline()
    model = go_on(champion, champion.train, package_of(champion))
    assert model["model"].n_iter_[0] < champion.model["model"].n_iter_[0] / 2
    assert model["model"].warm_start is False


def test_a_forest_keeps_its_trees_and_gets_new_ones() -> None:
    champion = trained_by("forest")
    rows = pd.concat([champion.train, moved(champion)], ignore_index=True)
    second = go_on(champion, rows, package_of(champion))["model"]
    assert len(second.estimators_) == 20
    old = champion.model["model"].estimators_
    assert all(
        np.array_equal(a.tree_.threshold, b.tree_.threshold) for a, b in zip(second.estimators_[:10], old, strict=True)
    )
    third = go_on(
        champion,
        rows,
        replace(package_of(champion), model=Pipeline([("embed", champion.model["embed"]), ("model", second)])),
    )
    assert len(third["model"].estimators_) == 30


def test_partial_fit_skips_the_champions_training_rows() -> None:
    champion = trained_by("bayes")
    new = moved(champion)
    known = pd.concat([champion.train, new], ignore_index=True)
    once = go_on(champion, known, package_of(champion))["model"]
    assert once.class_count_.sum() == len(known)
    alone = go_on(champion, new, package_of(champion))["model"]
    assert np.array_equal(once.theta_, alone.theta_)
    again = go_on(champion, known, package_of(champion, known))["model"]
    assert np.array_equal(again.theta_, champion.model["model"].theta_), "there was nothing new"


@pytest.mark.parametrize("kind", ["logistic", "sgd", "forest", "bayes"])
def test_equal_inputs_give_equal_models(kind: str) -> None:
    champion = trained_by(kind)
    rows = pd.concat([champion.train, moved(champion)], ignore_index=True)
    one, same = (go_on(champion, rows, package_of(champion)) for _ in range(2))
    features = champion.schema.select(champion.holdout)
    assert np.array_equal(one.predict_proba(features), same.predict_proba(features))


@pytest.mark.parametrize("kind", ["logistic", "sgd", "forest", "bayes"])
def test_different_classes_in_champion_and_rows_are_refused(kind: str) -> None:
    champion = trained_by(kind)
    hybrids = pd.concat([champion.train, moved(champion).assign(species="hybrid")], ignore_index=True)
    with pytest.raises(TrainingError, match="could not be fitted further: the class 'hybrid' is only in the rows"):
        go_on(champion, hybrids, package_of(champion))
    fewer = champion.train[champion.train["species"] != "virginica"]
    with pytest.raises(TrainingError, match="the class 'virginica' is only in the champion; set train.mode"):
        go_on(champion, fewer, package_of(champion))


def test_without_a_base_the_fit_starts_from_scratch(iris: Trained) -> None:
    model = go_on(iris, iris.train, None)
    features = iris.schema.select(iris.holdout)
    assert np.array_equal(model.predict_proba(features), iris.model.predict_proba(features))


@pytest.mark.parametrize("kind", ["logistic", "sgd", "forest", "bayes"])
def test_estimators_with_warm_start_or_partial_fit_are_accepted(kind: str) -> None:
    trained = trained_by(kind)
    assert require_can_continue(trained.model["model"], "x") is None


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        ("sklearn.tree.DecisionTreeClassifier", "has neither the parameter warm_start nor partial_fit; set train.mode"),
        (
            "sklearn.ensemble.HistGradientBoostingClassifier",
            "can continue on the same rows only, as scikit-learn documents",
        ),
    ],
)
def test_estimators_without_warm_start_and_partial_fit_are_refused_in_one_line(
    iris: Trained, estimator: str, reason: str
) -> None:
    unfitted = build_estimator(
        iris.config.train.model_copy(update={"estimator": estimator, "params": {}}), "classification", 1
    )
    with pytest.raises(ConfigError, match=f"^train.mode: warm_start: {estimator} {reason}") as caught:
        require_can_continue(unfitted, estimator)
    assert "\n" not in str(caught.value)


def warm(trained: Trained, name: str, **train: Any) -> Any:
    section = trained.config.train.model_copy(update={"mode": "warm_start", **train})
    return trained.config.model_copy(update={"model": name, "train": section})


def test_the_base_is_the_champion_if_its_estimator_is_of_the_same_class(
    mlflow_settings: Settings, model_name: str
) -> None:
    trained = trained_by("bayes")
    config = warm(trained, model_name)
    assert find_base(mlflow_settings, config) is None, "there is no champion yet"
    version = registered(mlflow_settings, model_name, trained)
    assert find_base(mlflow_settings, config) == version
    other = warm(trained, model_name, estimator="sklearn.linear_model.SGDClassifier")
    assert find_base(mlflow_settings, other) is None, "the champion is of another class"
    with pytest.raises(ConfigError, match="DecisionTreeClassifier has neither"):
        find_base(mlflow_settings, warm(trained, model_name, estimator="sklearn.tree.DecisionTreeClassifier"))
    assert find_base(mlflow_settings, warm(trained, model_name, mode="scratch")) is None

    base = load_base(mlflow_settings, model_name, version, trained.schema)
    assert base is not None
    assert np.array_equal(base.training_rows.ids, trained.train_identities.ids)
    fewer = trained.schema.model_copy(update={"features": trained.schema.features[:3]})
    assert load_base(mlflow_settings, model_name, version, fewer) is None, "it takes other columns"
    assert load_base(mlflow_settings, model_name, None, trained.schema) is None


def test_a_package_has_the_identities_of_all_rows_that_it_and_its_base_were_fitted_on(
    iris: Trained, tmp_path: Path
) -> None:
    at = np.arange(120)
    base = TrainingRows.of(iris.train_identities.select(at >= 20))
    both = TrainingRows.of(iris.train_identities.select(at < 50), base)
    digest, _ = write_package(tmp_path / "second", iris.model, iris.train, iris.schema, both)
    rows = load_package(tmp_path / "second", digest).training_rows
    assert (len(rows), rows.n_new, rows.n_data) == (120, 50, 50), "those of both runs are there once"
    assert set(rows.ids.tolist()) == set(iris.train_identities.ids.tolist())
    assert set(rows.contents.tolist()) == set(iris.train_identities.contents.tolist())
    first = load_package(*packaged(iris, tmp_path / "first"))
    assert np.array_equal(first.training_rows.ids, iris.train_identities.ids)
    assert first.training_rows.sources == {iris.train_identities.source}
