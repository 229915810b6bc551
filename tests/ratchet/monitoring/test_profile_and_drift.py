from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from ratchet.config import Drift
from ratchet.data.schema import Field, Schema
from ratchet.model.package.histogram import count
from ratchet.model.package.profile import Profile
from ratchet.model.package.profiling import profile_model, profile_rows
from ratchet.model.package.sealed_package import load_package
from ratchet.monitoring.drift.report import compare
from ratchet.monitoring.drift.verdicts import reaches
from tests.fitted import Trained, packaged


def test_a_profile_counts_every_row_once(mixed: Trained) -> None:
    profile = profile_rows(mixed.train, mixed.schema)
    for feature in profile.features:
        assert sum(feature.counts) + feature.missing == profile.n_rows == len(mixed.train)
    age, plan = profile.features
    assert sum(age.point_counts) + age.missing == len(mixed.train)
    assert plan.categories == ("basic", "plus", "pro")
    assert age.mean == pytest.approx(mixed.train["age"].mean())


def test_a_profile_is_equal_after_json(iris: Trained) -> None:
    profile = profile_model(iris.model, iris.train, iris.schema)
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_bins_hold_about_equally_many_rows(iris: Trained) -> None:
    counts = np.array(profile_rows(iris.train, iris.schema).features[0].counts)
    assert len(counts) == 6, "120 rows, 20 a bin"
    assert counts.min() >= 10


def test_points_are_the_distinct_values_up_to_512_and_quantiles_above(iris: Trained) -> None:
    few = profile_rows(iris.train, iris.schema).features[0]
    assert few.points == tuple(sorted(iris.train["sepal_length"].unique()))
    many = pd.DataFrame({name: np.arange(2000.0) for name in iris.schema.feature_names})
    points = profile_rows(many, iris.schema).features[0].points
    assert (len(points), points[0], points[-1]) == (512, 0, 1999)


def test_a_value_that_fills_a_bin_has_its_own_bin(iris: Trained) -> None:
    zeros = pd.DataFrame({name: np.repeat([0.0, 1.0], [95, 5]) for name in iris.schema.feature_names})
    feature = profile_rows(zeros, iris.schema).features[0]
    assert feature.counts == (0, 95, 5)
    ones = pd.DataFrame({"sepal_length": [-1.0, 0.0, 5e-324, 1.0]})
    assert count(ones, [feature]).columns["sepal_length"].cells == (1, 1, 2)


def test_values_outside_the_range_and_unknown_categories_have_a_bin(mixed: Trained) -> None:
    features = profile_rows(mixed.train, mixed.schema).features
    counts = count(pd.DataFrame({"age": [-1e9, 1e9, 50], "plan": ["gold", None, "pro"]}), features)
    assert [counts.columns["age"].cells[at] for at in (0, -1)] == [1, 1]
    assert counts.columns["plan"].cells == (0, 0, 1, 1)
    assert counts.columns["plan"].missing == 1


def test_regression_predictions_are_profiled_out_of_sample(diabetes: Trained) -> None:
    # On its training rows a forest repeats much of the target, with a wider spread than on new rows.
    features, target = diabetes.model.named_steps["embed"].transform, diabetes.train["progression"].to_numpy()
    embedded = features(diabetes.schema.select(diabetes.train))
    forest = RandomForestRegressor(30, random_state=0).fit(embedded, target)
    model = Pipeline([("embed", diabetes.model.named_steps["embed"]), ("model", forest)])
    (prediction,) = profile_model(model, diabetes.train, diabetes.schema).predictions
    unseen = forest.predict(features(diabetes.schema.select(diabetes.holdout))).std()
    assert prediction.std == pytest.approx(unseen, rel=0.15)
    assert forest.predict(embedded).std() > 1.2 * unseen


class Neighbours(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
    """Predict 1 for a row that comes directly before or after a training row."""

    def fit(self, X: Any, y: Any) -> Neighbours:  # noqa: N803 - scikit-learn's names
        self.known_ = set(X[:, 0].tolist())
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.array([float(not self.known_.isdisjoint({at - 1, at + 1})) for at in X[:, 0].tolist()])


def test_rows_of_a_series_are_predicted_without_their_neighbours() -> None:
    rows = pd.DataFrame({"x": np.arange(600.0), "y": 0.0})
    schema = Schema(features=(Field(name="x", type="number", nullable=False),), target="y")
    embedder = Pipeline([("encode", SimpleImputer().fit(rows[["x"]]))])
    model = Pipeline([("embed", embedder), ("model", Neighbours())])
    (shuffled,) = profile_model(model, rows, schema).predictions
    (series,) = profile_model(model, rows, schema.model_copy(update={"time": "x"})).predictions
    assert shuffled.mean is not None
    assert shuffled.mean > 0.8
    assert series.mean == pytest.approx(4 / 600, rel=1e-3), "the rows at the ends of the blocks"


def test_too_few_rows_have_no_profile_of_predictions_that_the_model_repeats(iris: Trained) -> None:
    few = iris.train.groupby("species").head(2)
    profile = profile_model(iris.model, few, iris.schema)
    assert profile.predictions == ()
    assert len(profile.embedded) == 3


def test_a_computed_number_is_rounded_before_it_is_counted(iris: Trained) -> None:
    profile = profile_model(iris.model, iris.train, iris.schema)
    first = profile.embedded[0]
    rows = pd.DataFrame({"PCA_1": [first.points[3]]})
    noisy = rows + 1e-9
    assert first.resolution > 1e-9
    assert count(rows, [first], points=True).columns["PCA_1"].cells == (
        count(noisy, [first], points=True).columns["PCA_1"].cells
    )


def test_a_profile_of_an_older_package_loads() -> None:
    feature = {"name": "x", "type": "number", "edges": [1.0], "categories": [], "counts": [60, 40], "missing": 0}
    old = {"n_rows": 100, "features": [feature | {"mean": 1.0, "std": 1.0}]}
    profile = Profile.model_validate_json(json.dumps(old))
    assert (profile.embedded, profile.predictions, profile.features[0].points) == ((), (), ())
    rows = pd.DataFrame({"x": np.repeat([0.0, 2.0], [60, 40])})
    assert compare(rows, profile, Drift(method="ks"), "1").figures == {"x": 0.0}, "K-S over the bins that it has"


def test_the_package_has_a_profile_and_a_sample_and_is_reproducible(
    mixed: Trained, mixed_package: tuple[Path, str], tmp_path: Path
) -> None:
    package = load_package(*mixed_package)
    again, _ = packaged(mixed, tmp_path / "again")
    for name in ("profile.json", "sample.json"):
        assert (again / name).read_bytes() == (mixed_package[0] / name).read_bytes()
    pd.testing.assert_frame_equal(package.sample, mixed.schema.select(mixed.train).reset_index(drop=True))
    assert [feature.name for feature in package.profile.embedded] == [f"FEATURE_{i}" for i in range(1, 6)]
    assert package.profile.predictions[0].categories == ("no", "yes")


def test_without_a_champion_there_is_no_reference_yet(iris: Trained) -> None:
    report = compare(iris.train, None, Drift(), None)
    assert report.summary == "no reference yet"
    assert not report.detected


def test_the_same_rows_have_not_drifted(iris: Trained) -> None:
    report = compare(iris.train, profile_rows(iris.train, iris.schema), Drift(), "3")
    assert report.summary == "no drift against version 3: 0 of 4 features drifted"
    assert set(report.p_values.values()) == {1.0}


@pytest.mark.parametrize("method", ["psi", "ks", "jensen_shannon", "chi_square"])
def test_shifted_rows_have_drifted_in_the_features_that_shifted(iris: Trained, method: str) -> None:
    shifted = iris.train.assign(sepal_length=iris.train["sepal_length"] + 2, petal_width=iris.train["petal_width"] + 2)
    config = Drift.model_validate({"method": method, "share": 0.5})
    report = compare(shifted, profile_rows(iris.train, iris.schema), config, "1")
    assert report.drifted == ("sepal_length", "petal_width")
    assert report.share == 0.5
    assert report.detected


def test_a_column_has_drifted_only_at_the_threshold_and_if_significant(iris: Trained) -> None:
    profile = profile_rows(iris.train, iris.schema)
    few = iris.train.sample(20, random_state=2)
    by_chance = compare(few, profile, Drift(), "1")
    assert max(by_chance.figures.values()) > 0.2
    assert by_chance.drifted == ()
    many = pd.DataFrame(np.random.default_rng(0).normal(size=(6000, 4)), columns=iris.schema.feature_names)
    shifted, profile = many.assign(sepal_width=many["sepal_width"] + 0.2), profile_rows(many, iris.schema)
    slightly = compare(shifted, profile, Drift(), "1")
    assert slightly.p_values["sepal_width"] < slightly.level
    assert slightly.drifted == ()
    pure = compare(shifted, profile, Drift(threshold=None), "1")
    assert pure.drifted == ("sepal_width",)


def test_a_figure_at_its_limit_counts_as_drift_and_no_limit_always_does() -> None:
    assert [reaches(0.2, limit) for limit in (0.1, 0.2, 0.3, None)] == [True, True, False, True]


def test_a_column_and_a_share_at_their_limits_are_drift_in_the_drift_check() -> None:
    names = ("a", "b", "c", "d")
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(6000, 4)), columns=names)
    schema = Schema(features=tuple(Field(name=name, type="number", nullable=False) for name in names), target="y")
    shifted, profile = rows.assign(b=rows["b"] + 0.5), profile_rows(rows, schema)
    figure = compare(shifted, profile, Drift(), "1").figures["b"]
    at_limit = compare(shifted, profile, Drift(threshold=figure, share=0.25), "1")
    assert (at_limit.drifted, at_limit.share, at_limit.detected) == (("b",), 0.25, True)
    above = compare(shifted, profile, Drift(threshold=float(np.nextafter(figure, np.inf)), share=0.25), "1")
    assert (above.drifted, above.detected) == ((), False)


def test_an_absent_feature_is_not_compared_and_noted(iris: Trained) -> None:
    report = compare(iris.train.drop(columns="sepal_width"), profile_rows(iris.train, iris.schema), Drift(), "1")
    assert len(report.figures) == 3
    assert report.notes == ("sepal_width: absent, or not of type number; not compared",)


def test_a_feature_of_another_type_is_not_compared_and_noted(iris: Trained, mixed: Trained) -> None:
    rows = iris.train.assign(sepal_width="wide")
    assert len(compare(rows, profile_rows(iris.train, iris.schema), Drift(), "1").figures) == 3
    report = compare(mixed.train.assign(plan=1.5), profile_rows(mixed.train, mixed.schema), Drift(), "1")
    assert report.notes == ("plan: absent, or not of type category; not compared",)


def test_a_report_is_equal_after_json(iris: Trained) -> None:
    report = compare(iris.holdout, profile_rows(iris.train, iris.schema), Drift(), "1")
    assert type(report).model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(("method", "threshold"), [("psi", 0.2), ("ks", 0.2), ("chi_square", 0.5)])
def test_each_method_has_its_own_default_threshold(method: str, threshold: float) -> None:
    assert Drift.model_validate({"method": method}).threshold == threshold
    assert Drift.model_validate({"method": method, "threshold": None}).threshold is None
    assert Drift.model_validate({"method": method, "threshold": 0.3}).threshold == 0.3
