"""The small data sets of this folder, each trained, packaged, and asked with its own rows; README.md says what is right."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
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

from ratchet.config.training import Drift
from ratchet.config.files import parse_config
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.model.package.sealed_package import load_package
from ratchet.monitoring.drift.report import compare
from tests.fitted import Trained, fit, packaged

FOLDER = Path(__file__).parent
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}}


@dataclass(frozen=True)
class Case:
    """A file, its ``dataset`` section, and what is right.

    Attributes
    ----------
    categories: by column, as the schema has to have them.
    labels: the classes.
    """

    file: str
    target: str
    dataset: Mapping[str, Any] = field(default_factory=dict)
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    labels: Sequence[str | int] = ()

    def config(self, **changes: Any) -> Any:
        section = {"source": "csv", "path": str(FOLDER / self.file), "target": self.target, **self.dataset}
        return parse_config(
            {
                "model": Path(self.file).stem,
                "dataset": section,
                "embed": {"reducer": "none"},
                "train": LOGISTIC,
                "evaluate": {"primary_metric": "accuracy"},
                **changes,
            }
        )

    def rows(self) -> list[dict[str, str]]:
        """The rows of the file as text, without the target and the columns that the config drops."""
        separator = self.dataset.get("separator", ",")
        with (FOLDER / self.file).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=separator))
        left_out = {self.target, *self.dataset.get("drop", ())}
        return [{name: text for name, text in row.items() if name not in left_out} for row in rows]


CASES = [
    Case(
        "zips.csv",
        "claim",
        {"columns": {"zip": {"type": "category"}}},
        {"zip": ("00501", "02116", "10001", "94110")},
        ("no", "yes"),
    ),
    Case(
        "releases.csv",
        "state",
        {"columns": {"release": {"type": "category"}}},
        {"release": ("1.1", "1.10", "1.2", "1.20")},
        ("fails", "works"),
    ),
    Case(
        "devices.csv",
        "fault",
        {"columns": {"device": {"type": "category"}}},
        {"device": tuple(f"158221819562593894{last}" for last in range(5, 9))},
        (0, 1),
    ),
    Case("countries.csv", "outcome", {}, {"country": ("BW", "NA", "ZA")}, ("buys", "leaves")),
    Case("disorders.csv", "disorder", {}, {}, ("Apnea", "Insomnia", "None")),
    Case("names.csv", "buys", {}, {"région": ("north", "south", "à l'est")}, ("no", "yes")),
    Case("names_reserved.csv", "buys", {}, {"region": ("north", "south", "à l'est")}, ("no", "yes")),
    Case("names_twins.csv", "y", {}, {"a-b": ("north", "south", "à l'est")}, ("no", "yes")),
    Case("decimals.csv", "clase", {"separator": ";", "decimal": ","}, {}, ("A", "B")),
    Case("numbered.csv", "animal", {"drop": [""]}, {}, ("cat", "dog")),
    Case("survey.csv", "decision", {}, {"q1": ("never", "often", "rarely")}, ("leaves", "stays")),
    Case("costs.csv", "late", {}, {}, (0, 1)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.file)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def trained(case: Case) -> Trained:
    return fit(case.config())


@pytest.fixture(scope="module")
def package(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return packaged(trained, tmp_path_factory.mktemp("package") / "model")


@pytest.fixture(scope="module")
def runtime(package: tuple[Path, str]) -> Runtime:
    return load_runtime(*package, model="m", version="1")


def test_the_schema_has_the_categories_and_classes_of_the_file(case: Case, trained: Trained) -> None:
    fields = {column.name: column for column in trained.schema.features}
    assert {name: fields[name].categories for name in case.categories} == dict(case.categories)
    assert trained.schema.labels == tuple(case.labels)


def test_the_package_has_an_export_whose_predictions_equal_scikit_learns(runtime: Runtime) -> None:
    assert runtime.engine_name == "onnx"


def as_json_numbers(row: Mapping[str, str], runtime: Runtime, decimal: str) -> dict[str, Any]:
    """A row as a client sends it: numbers for the columns of numbers, and null for an empty field."""
    numeric = {column.name for column in runtime.schema.features if column.type == "number"}
    return {
        name: None if text == "" else float(text.replace(decimal, ".")) if name in numeric else text
        for name, text in row.items()
    }


def test_each_row_of_the_file_is_answered_as_in_training(case: Case, trained: Trained, runtime: Runtime) -> None:
    rows = case.rows()
    frame = pd.concat([trained.train, trained.holdout])
    as_text = [runtime.reader.read(json.dumps(row).encode()) for row in rows]
    decimal = case.dataset.get("decimal", ".")
    as_numbers = [runtime.reader.read(json.dumps(as_json_numbers(row, runtime, decimal)).encode()) for row in rows]
    assert as_text == as_numbers
    assert len(frame) == len(rows)
    answers = [answer.prediction for answer in runtime.predict(as_text)]
    whole = fit_frame(case)
    expected = trained.model.predict(trained.schema.select(whole[trained.schema.feature_names])).tolist()
    assert answers == expected


def fit_frame(case: Case) -> pd.DataFrame:
    """The typed rows in the order of the file."""
    from ratchet.data import load_dataset

    config = case.config()
    return load_dataset(config.dataset, config.task).frame


def test_accuracy_is_that_of_scikit_learn_on_the_text_of_the_file(
    case: Case, trained: Trained, runtime: Runtime
) -> None:
    separator, decimal = case.dataset.get("separator", ","), case.dataset.get("decimal", ".")
    numbers = [column.name for column in trained.schema.features if column.type == "number"]
    rows = pd.read_csv(
        FOLDER / case.file, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
    ).rename(columns={"Unnamed: 0": ""})
    categories = [name for name in trained.schema.feature_names if name not in numbers]
    for name in numbers:
        rows[name] = rows[name].str.replace(decimal, ".").astype(float)
    steps = [(StandardScaler(), numbers)] if numbers else []
    steps += [(OneHotEncoder(handle_unknown="ignore"), categories)] if categories else []
    peer = make_pipeline(make_column_transformer(*steps), LogisticRegression(max_iter=1000))
    truth = rows[case.target]
    peer.fit(rows, truth)
    records = [runtime.reader.read(json.dumps(row).encode()) for row in case.rows()]
    ours = np.mean([str(a.prediction) == b for a, b in zip(runtime.predict(records), truth, strict=True)])
    assert ours == pytest.approx(peer.score(rows, truth), abs=0.02)


def test_the_file_has_no_drift_against_itself(trained: Trained, package: tuple[Path, str]) -> None:
    profile = load_package(*package).profile
    report = compare(trained.train, profile, Drift(), "1")
    assert max(report.figures.values()) == pytest.approx(0, abs=1e-12)
