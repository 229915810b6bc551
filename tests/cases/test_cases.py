"""The small data sets of this folder, each trained by the pipeline, served, and sent its own rows.

README.md says what is right for each file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ratchet.config import Drift, TrainingConfig
from ratchet.config.files import parse_config
from ratchet.data import load_dataset
from ratchet.errors import DataError
from ratchet.monitoring.drift.report import compare
from ratchet.registry.fetch_package import reference_package
from ratchet.settings import Settings
from tests.fitted import fit
from tests.serving.running import Service, serving
from tests.training_runs import train_in

FOLDER = Path(__file__).parent
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}}
FOREST = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 20}}
RIDGE = {"estimator": "sklearn.linear_model.Ridge"}


@dataclass(frozen=True)
class Case:
    """A file with its target, and the other keys of its ``dataset`` section and of its training."""

    file: str
    target: str
    dataset: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=lambda: LOGISTIC)

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def config(self, **changes: Any) -> TrainingConfig:
        return parse_config(
            {
                "model": f"case_{self.name}",
                "dataset": {"source": "csv", "path": str(FOLDER / self.file), "target": self.target, **self.dataset},
                "embed": {"reducer": "none"},
                "train": dict(self.train),
                "evaluate": {"primary_metric": "accuracy"},
                "promote": {"latency_ms": 10_000},
                **changes,
            }
        )

    def rows(self) -> list[dict[str, str]]:
        """The rows of the file as text."""
        with (FOLDER / self.file).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter=self.dataset.get("separator", ",")))


CASES = [
    Case("zips.csv", "claim", {"columns": {"zip": {"type": "category"}}}),
    Case("releases.csv", "state", {"columns": {"release": {"type": "category"}}}),
    Case("devices.csv", "fault", {"columns": {"device": {"type": "category"}}}),
    Case("countries.csv", "outcome"),
    Case("disorders.csv", "disorder"),
    Case("names.csv", "buys"),
    Case("names_reserved.csv", "buys"),
    Case("names_twins.csv", "y"),
    Case("decimals.csv", "clase", {"separator": ";", "decimal": ","}),
    Case("numbered.csv", "animal", {"drop": [""]}),
    Case("survey.csv", "decision"),
    Case("costs.csv", "late", train={**LOGISTIC, "params": {"class_weight": {0: 1, 1: 5}}}),
]
STORES = Case("stores.csv", "sales", {"time": "day", "window": {"lags": {"sales": [1, 7]}}}, RIDGE)
GAPS = Case("gaps.csv", "load", {"time": "hour", "window": {"lags": {"load": [1, 24]}}}, RIDGE)
FORECAST: dict[str, Any] = {"task": "forecasting", "embed": {"kind": "series"}, "evaluate": {"primary_metric": "mae"}}


@dataclass(frozen=True)
class Served:
    """A case whose model is in Production, and its service."""

    case: Case
    service: Service


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def served(
    request: pytest.FixtureRequest, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    case: Case = request.param
    summary = train_in(settings, case.config())
    assert summary.promotion.outcome == "promoted", summary.promotion.reason
    with serving(settings, f"case_{case.name}", tmp_path_factory.mktemp("served") / "output") as service:
        yield Served(case, service)


@pytest.mark.slow
def test_a_file_is_trained_exported_served_and_answered_as_scikit_learn_on_its_text(
    served: Served, settings: Settings
) -> None:
    case = served.case
    package, _ = reference_package(settings, f"case_{case.name}")
    assert package is not None
    assert package.onnx is not None, "exported, and equal to scikit-learn"
    names = package.schema.feature_names
    rows = [{name: row[name] for name in names} for row in case.rows()]
    status, answer = served.service.post("/predict_batch", {"rows": rows})
    assert status == 200, answer
    answers = [one["prediction"] for one in answer["predictions"]]

    data = load_dataset(case.config().dataset, "classification")
    assert answers == package.model.predict(data.schema.select(data.frame)).tolist()
    truth = [row[case.target] for row in case.rows()]
    ours = np.mean([str(label) == true for label, true in zip(answers, truth, strict=True)])
    places = training_rows(case, data.frame)
    assert ours == pytest.approx(accuracy_of_scikit_learn(case, package.schema, places), abs=0.01)

    report = compare(data.frame.loc[places], package.profile, Drift(), "1")
    assert max(report.figures.values()) == pytest.approx(0, abs=1e-12)


def training_rows(case: Case, frame: pd.DataFrame) -> pd.Index:
    """The places of the training rows."""
    from sklearn.model_selection import train_test_split

    config = case.config()
    places, _ = train_test_split(
        frame.index, test_size=config.split.test_size, random_state=config.seed, stratify=frame[case.target]
    )
    return pd.Index(places)


def accuracy_of_scikit_learn(case: Case, schema: Any, places: pd.Index) -> float:
    """The accuracy of the same estimator on the file, read as text, with the numbers converted by hand."""
    rows = pd.DataFrame(case.rows())
    numbers = [column.name for column in schema.features if column.type == "number"]
    for name in numbers:
        rows[name] = rows[name].str.replace(case.dataset.get("decimal", "."), ".").astype(float)
    categories = [name for name in schema.feature_names if name not in numbers]
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), categories))
    truth = rows[case.target].map({str(label): label for label in schema.labels})
    peer = make_pipeline(columns, LogisticRegression(**{"max_iter": 1000, **case.train["params"]}))
    return float(peer.fit(rows.loc[places], truth[places]).score(rows, truth))


@pytest.mark.slow
def test_a_forest_is_compared_with_the_champion_on_every_held_out_row_of_the_survey(settings: Settings) -> None:
    survey = next(case for case in CASES if case.name == "survey")
    train_in(settings, survey.config(model="case_survey_twice"))
    summary = train_in(settings, survey.config(model="case_survey_twice", train=FOREST))
    reason = next(check.reason for check in summary.promotion.checks if check.name == "against_champion")
    assert f"{summary.evaluation.n_rows} rows" in reason


def test_two_stores_in_one_series_are_refused_with_two_rows_of_one_day() -> None:
    with pytest.raises(DataError, match=r"2025-01-01.*group"):
        load_dataset(STORES.config(**FORECAST).dataset, "forecasting")


def test_lags_are_those_of_the_same_store() -> None:
    grouped = Case(STORES.file, STORES.target, {**STORES.dataset, "group": "store", "fill": "drop"}, RIDGE)
    frame = load_dataset(grouped.config(**FORECAST).dataset, "forecasting").frame
    sales = {(row["store"], pd.Timestamp(row["day"])): float(row["sales"]) for row in STORES.rows()}
    for row in frame.to_dict("records"):
        for lag in (1, 7):
            past = sales[row["store"], pd.Timestamp(row["day"]) - pd.Timedelta(days=lag)]
            assert row[f"sales_lag_{lag}"] == past


def test_a_day_without_rows_is_refused_by_its_hours() -> None:
    with pytest.raises(DataError, match=r"30.*fill"):
        load_dataset(GAPS.config(**FORECAST).dataset, "forecasting")


@pytest.mark.parametrize("fill", ["drop", "ffill"])
def test_a_lag_over_a_gap_is_a_value_of_its_hour_or_filled(fill: str) -> None:
    filled = Case(GAPS.file, GAPS.target, {**GAPS.dataset, "fill": fill}, RIDGE)
    frame = load_dataset(filled.config(**FORECAST).dataset, "forecasting").frame
    load = pd.Series({pd.Timestamp(row["hour"]): float(row["load"]) for row in GAPS.rows()})
    hourly = load.asfreq("h")
    expected = hourly.ffill() if fill == "ffill" else hourly
    assert set(frame["hour"].map(pd.Timestamp)) <= set(load.index), "no hour was invented"
    for row in frame.to_dict("records"):
        for lag in (1, 24):
            assert row[f"load_lag_{lag}"] == expected[pd.Timestamp(row["hour"]) - pd.Timedelta(hours=lag)]


UNDECLARED = [
    (Case("devices.csv", "fault"), "device", "type: category"),
    (Case("decimals.csv", "clase", {"separator": ";"}), "larga", 'decimal: ","'),
    (Case("numbered.csv", "animal"), "", 'drop: [""]'),
]


@pytest.mark.parametrize(("case", "column", "line"), UNDECLARED, ids=lambda value: getattr(value, "name", ""))
def test_an_undeclared_column_is_warned_of_by_name_with_the_line_for_the_config(
    case: Case, column: str, line: str
) -> None:
    data = load_dataset(case.config().dataset, "classification")
    warning = next(warning for warning in data.warnings if warning.column == column)
    assert line in warning.fix
    strict = Case(case.file, case.target, {**case.dataset, "strict": True})
    with pytest.raises(DataError, match="strict"):
        load_dataset(strict.config().dataset, "classification")


def test_a_row_number_is_not_learned_once_it_is_dropped() -> None:
    numbered = next(case for case in CASES if case.name == "numbered")
    fitted = fit(numbered.config())
    right = fitted.model.predict(fitted.schema.select(fitted.holdout)) == fitted.holdout["animal"]
    assert fitted.schema.feature_names == ["a", "b"]
    assert right.mean() < 0.7
