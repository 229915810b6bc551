from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ratchet.config import GeneratedDataset
from ratchet.data import dataset_version, open_source
from ratchet.errors import DataError

Name = Literal["fraud", "churn"]


def dataset(name: Name, **keys: Any) -> GeneratedDataset:
    return GeneratedDataset(source="generated", name=name, target="label", **keys)


@pytest.fixture(scope="module")
def fraud() -> pd.DataFrame:
    return open_source(dataset("fraud")).read()


@pytest.fixture(scope="module")
def churn() -> pd.DataFrame:
    return open_source(dataset("churn")).read()


@pytest.mark.parametrize(
    ("name", "version"),
    [("fraud", "8010c91506da9e681d9ac5e387fb6702"), ("churn", "b35506a888545a666ea35aeed3a14f19")],
)
def test_generated_rows_have_the_same_bytes_on_every_machine(name: Name, version: str) -> None:
    assert dataset_version(dataset(name)) == version


@pytest.mark.parametrize("name", ["fraud", "churn"])
def test_another_seed_gives_other_rows_with_the_same_columns(name: Name) -> None:
    one, other = (open_source(dataset(name, rows=500, seed=seed)).read() for seed in (1, 2))
    assert not one.equals(other)
    assert list(one.columns) == list(other.columns)
    assert len(one) == len(other) == 500


def test_a_target_may_not_have_the_name_of_a_feature() -> None:
    config = GeneratedDataset(source="generated", name="fraud", target="amount")
    with pytest.raises(DataError, match="'amount' is a feature of fraud"):
        dataset_version(config)


def test_about_one_transaction_in_a_hundred_is_a_fraud(fraud: pd.DataFrame) -> None:
    assert len(fraud) == 30_000
    assert (fraud["label"] == "fraud").mean() == pytest.approx(0.012, abs=0.002)


def test_transactions_are_in_the_order_of_time_and_have_its_hour(fraud: pd.DataFrame) -> None:
    times = pd.to_datetime(fraud["time"])
    assert times.is_monotonic_increasing
    assert (times.dt.hour == fraud["hour"]).all()


def test_the_later_part_of_fraud_has_drifted_and_the_earlier_has_not(fraud: pd.DataFrame) -> None:
    honest = fraud[fraud["label"] == "legitimate"]
    first, second, last = (honest.iloc[int(len(honest) * at) :][:5000] for at in (0.0, 0.3, 0.83))
    amounts = [np.log(part["amount"]).mean() for part in (first, second, last)]
    games = [(part["merchant"] == "games").mean() for part in (first, second, last)]
    assert amounts[1] == pytest.approx(amounts[0], abs=0.06)
    assert amounts[2] > amounts[0] + 0.1
    assert games[1] == pytest.approx(games[0], abs=0.015)
    assert games[2] > games[0] + 0.03


def test_frauds_become_small_payments_in_quick_succession(fraud: pd.DataFrame) -> None:
    frauds = fraud[fraud["label"] == "fraud"]
    early, late = frauds.iloc[:150], frauds.iloc[-60:]
    assert (late["minutes_since_last"] < 60).mean() > (early["minutes_since_last"] < 60).mean() + 0.2
    assert late["amount"].median() < early["amount"].median() / 2


def linear(rows: pd.DataFrame) -> Any:
    numbers = make_column_selector(dtype_include=np.number)
    words = make_column_selector(dtype_exclude=np.number)
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words))
    return make_pipeline(columns, LogisticRegression(max_iter=500))


def test_a_linear_model_finds_frauds_far_above_chance_in_the_newest_fifth(fraud: pd.DataFrame) -> None:
    rows, truth = fraud.drop(columns=["label", "time"]), fraud["label"] == "fraud"
    model = linear(rows).fit(rows[:24_000], truth[:24_000])
    found = average_precision_score(truth[24_000:], model.predict_proba(rows[24_000:])[:, 1])
    assert found > 20 * truth[24_000:].mean()


def test_about_a_quarter_of_customers_leave_and_a_linear_model_predicts_it(churn: pd.DataFrame) -> None:
    truth = churn["label"] == "yes"
    assert truth.mean() == pytest.approx(0.24, abs=0.03)
    rows = churn.drop(columns="label")
    numbers = rows.select_dtypes(np.number).columns
    rows = rows.fillna(rows[numbers].median()).fillna({"region": "none"})
    model = linear(rows).fit(rows[:4000], truth[:4000])
    assert roc_auc_score(truth[4000:], model.predict_proba(rows[4000:])[:, 1]) > 0.78


def test_churn_has_missing_values_of_which_one_is_informative(churn: pd.DataFrame) -> None:
    gaps = churn.isna().mean()
    assert set(gaps[gaps > 0].index) == {"age", "region", "total", "satisfaction"}
    left = churn["label"] == "yes"
    silent = churn["satisfaction"].isna()
    assert left[silent].mean() > left[~silent].mean() + 0.05
    assert (churn["total"].isna() == (churn["tenure"] == 0)).all()
