from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Costs, CsvDataset, Split
from ratchet.config.files import parse_config
from ratchet.data import load_dataset
from ratchet.data.schema import Schema, check_frame
from ratchet.data.windows import in_order
from ratchet.errors import ConfigError, DataError
from ratchet.model.bootstrap import interval, resamples
from ratchet.model.metrics import RegressionScores
from ratchet.model.tasks import TASKS, block_length, task_of


def dataset(**more: Any) -> CsvDataset:
    return CsvDataset.model_validate({"source": "csv", "path": "x.csv", "target": "y", **more})


def hourly(rows: int = 48) -> pd.DataFrame:
    times = pd.date_range("2026-01-01", periods=rows, freq="h").strftime("%Y-%m-%d %H:%M")
    return pd.DataFrame({"at": times, "wind": np.arange(rows) * 10.0, "y": np.arange(rows, dtype=float)})


def series(rows: pd.DataFrame, **window: Any) -> tuple[pd.DataFrame, Schema]:
    config = dataset(time="at", window=window)
    return check_frame(in_order(rows, config), config, "forecasting")


def test_a_window_carries_only_what_was_known_the_horizon_before() -> None:
    frame, _ = series(hourly(), lags={"y": [2, 24]}, horizon=2)
    first = frame.iloc[0]
    assert first["at"] == "2026-01-02T00:00:00"
    assert first["y"] == 24.0
    assert first["y_lag_2"] == 22.0
    assert first["y_lag_24"] == 0.0
    assert first["wind"] == 220.0, "the wind of the predicted hour is not known two hours before"


def test_columns_known_beforehand_have_the_value_at_the_predicted_time() -> None:
    frame, _ = series(hourly(), lags={"y": [1]}, horizon=1, known=["wind"])
    assert (frame["wind"] == frame["y"] * 10).all()


def test_a_row_that_is_judged_itself_keeps_its_own_values() -> None:
    config = dataset(time="at", window={"lags": {"wind": [1, 2]}, "horizon": 0})
    frame = in_order(hourly(6), config)
    assert frame["wind"].tolist() == [20.0, 30.0, 40.0, 50.0]
    assert frame["wind_lag_2"].tolist() == [0.0, 10.0, 20.0, 30.0]


def test_rows_in_any_order_are_put_in_order_before_anything_else() -> None:
    shuffled = hourly().sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(series(shuffled, lags={"y": [1]})[0], series(hourly(), lags={"y": [1]})[0])


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"lags": {"y": [0]}, "horizon": 0}, r"lags.y: got \[0\], expected different whole numbers from 1 on"),
        ({"lags": {"y": [1]}, "horizon": 2}, "from 2 on"),
        ({"lags": {"y": [2, 2]}}, "expected different whole numbers"),
    ],
)
def test_a_lag_that_would_look_ahead_is_refused(window: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset(time="at", window=window)


@pytest.mark.parametrize(
    ("rows", "window", "message"),
    [
        (hourly(5), {"lags": {"y": [5]}}, "the longest lag is 5, and the series has 5 rows"),
        (hourly(), {"lags": {"z": [1]}}, "dataset.window: there is no column 'z'"),
        (hourly().assign(y_lag_1=1.0), {"lags": {"y": [1]}}, "would add a second column 'y_lag_1'"),
        (
            hourly().assign(at="yesterday"),
            {"lags": {"y": [1]}},
            "expected a time in ISO 8601.* got 'yesterday' in row 1",
        ),
        (hourly().assign(at=[None, *["2026-01-01"] * 47]), {"lags": {"y": [1]}}, "a time is missing"),
    ],
)
def test_a_series_that_cannot_be_windowed_is_refused(rows: pd.DataFrame, window: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        series(rows, **window)


def test_the_newest_rows_are_held_out_where_time_orders_them() -> None:
    frame, schema = series(hourly(), lags={"y": [1]})
    train, holdout = TASKS["forecasting"].split(frame, schema, Split(test_size=0.25), seed=1)
    assert train["at"].max() < holdout["at"].min()
    assert len(holdout) == round(len(frame) * 0.25)


def test_rows_of_one_time_are_not_torn_apart() -> None:
    rows = pd.DataFrame({"at": ["2026-01-01"] * 4 + ["2026-01-02"] * 4 + ["2026-01-03"] * 2, "x": 1.0, "y": range(10)})
    config = dataset(time="at")
    frame, schema = check_frame(in_order(rows, config), config, "regression")
    train, holdout = TASKS["regression"].split(frame, schema, Split(test_size=0.4), seed=1)
    assert set(train["at"]) & set(holdout["at"]) == set()
    with pytest.raises(DataError, match="a part is empty"):
        TASKS["regression"].split(frame, schema, Split(test_size=0.1), seed=1)


def test_what_validates_is_newer_than_what_is_fitted_on() -> None:
    frame, schema = series(hourly(), lags={"y": [1]})
    for fitted, validated in TASKS["forecasting"].folds(frame, schema, 3, seed=1):
        assert fitted.max() < validated.min()


def test_rows_of_one_time_are_in_one_part_of_a_fold() -> None:
    stores = pd.concat([hourly(24).assign(store=store) for store in "abcde"], ignore_index=True)
    config = dataset(time="at", group="store", window={"lags": {"y": [1]}})
    frame, schema = check_frame(in_order(stores, config), config, "forecasting")
    times, before = frame["at"].to_numpy(), 0
    for fitted, validated in TASKS["forecasting"].folds(frame, schema, 4, seed=1):
        assert set(times[fitted]) & set(times[validated]) == set()
        assert fitted.tolist() == list(range(validated[0]))
        assert set(times[: validated[-1] + 1]) & set(times[validated[-1] + 1 :]) == set()
        assert len(fitted) > before
        before = len(fitted)
    same = frame.assign(at=frame["at"].iloc[0])
    with pytest.raises(DataError, match="to validate on: take fewer folds"):
        list(TASKS["forecasting"].folds(same, schema, 4, seed=1))


def test_without_time_folds_keep_the_shares_of_the_classes() -> None:
    rows = pd.DataFrame({"x": np.arange(30.0), "y": ["a"] * 10 + ["b"] * 20})
    frame, schema = check_frame(rows, dataset(), "classification")
    folds = list(TASKS["classification"].folds(frame, schema, 5, seed=1))
    assert sorted(np.concatenate([validated for _, validated in folds]).tolist()) == list(range(30))
    assert all((frame["y"].iloc[validated] == "a").sum() == 2 for _, validated in folds)
    with pytest.raises(DataError, match="11 folds need 11 rows of the rarest class; there are 10"):
        list(TASKS["classification"].folds(frame, schema, 11, seed=1))


def test_folds_in_the_order_of_time_need_one_row_more_than_there_are_folds() -> None:
    frame, schema = series(hourly(6), lags={"y": [1]})
    with pytest.raises(DataError, match="5 folds need 6 rows; there are 5"):
        list(TASKS["forecasting"].folds(frame, schema, 5, seed=1))
    assert len(list(TASKS["forecasting"].folds(frame, schema, 4, seed=1))) == 4


def test_rows_that_follow_each_other_are_drawn_together() -> None:
    weights = next(iter(resamples(12, 50, seed=1, block=3)))
    assert weights.shape == (50, 12)
    assert (weights.sum(axis=1) == 12).all()
    lonely = (weights > 0) & (np.roll(weights, 1, axis=1) == 0) & (np.roll(weights, -1, axis=1) == 0)
    assert not lonely.any(), "a row comes with a neighbour"


def test_an_interval_of_errors_that_follow_each_other_is_wider_with_blocks() -> None:
    generator = np.random.default_rng(4)
    errors = np.convolve(generator.normal(size=600), np.ones(25) / 5, mode="valid")
    scores = RegressionScores(np.zeros(len(errors)), errors)
    alone, together = (interval("rmse", scores, 0.95, 400, 1, block) for block in (1, 25))
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_blocks_are_for_rows_in_the_order_of_time_alone() -> None:
    rows = pd.DataFrame({"at": range(1000)})
    assert block_length(Schema(features=(), target="y"), rows) == 1
    assert block_length(Schema(features=(), target="y", time="at"), rows) == 10


def test_a_block_of_several_series_has_all_rows_of_its_times() -> None:
    rows = pd.DataFrame({"at": np.repeat(range(1000), 7)})
    assert block_length(Schema(features=(), target="y", time="at", group=("store",)), rows) == 10 * 7
    assert block_length(Schema(features=(), target="y", time="at"), rows) == 20, "rows of no series are each their own"
    assert block_length(Schema(features=(), target="y", time="at", group=("store",)), rows[:7]) == 3


def test_the_interval_of_many_alike_series_is_that_of_one() -> None:
    schema = Schema(features=(), target="y", time="at", group=("store",))
    errors = np.convolve(np.random.default_rng(4).normal(size=600), np.ones(25) / 5, mode="valid")
    widths = []
    for copies in (1, 20):
        alike = np.repeat(errors, copies)
        block = block_length(schema, pd.DataFrame({"at": np.repeat(range(len(errors)), copies)}))
        low, high = interval("rmse", RegressionScores(np.zeros(len(alike)), alike), 0.95, 400, 1, block)
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.2)


def test_the_positive_class_is_the_last_unless_the_config_names_another() -> None:
    rows = pd.DataFrame({"x": np.arange(4.0), "y": ["no", "yes", "no", "yes"]})
    assert check_frame(rows, dataset(), "classification")[1].positive == "yes"
    assert check_frame(rows, dataset(positive="no"), "classification")[1].positive == "no"
    with pytest.raises(DataError, match="dataset.positive: 'ye' is not a class of 'y'; did you mean 'yes'"):
        check_frame(rows, dataset(positive="ye"), "classification")


def test_costs_need_two_classes() -> None:
    rows = pd.DataFrame({"x": np.arange(3.0), "y": ["a", "b", "c"]})
    with pytest.raises(DataError, match="dataset.costs: needs two classes, and the target 'y' is 3 classes"):
        check_frame(rows, dataset(costs=Costs(false_negative=2, false_positive=1)), "classification")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task": "forecasting", "evaluate": {"primary_metric": "rmse"}}, "forecasting needs 'time'"),
        ({"evaluate": {"primary_metric": "cost"}}, "cost needs dataset.costs"),
        ({"train": {"estimator": "sklearn.svm.SVC", "threshold": "cost"}}, "train.threshold: cost needs"),
        ({"evaluate": {"primary_metric": "f1", "maximum": 1}}, "f1 is a score"),
        ({"evaluate": {"primary_metric": "cost", "minimum": 1}}, "cost is a loss"),
        ({"task": "recommendation", "evaluate": {"primary_metric": "f1"}}, "'f1' does not measure recommendation"),
    ],
)
def test_a_config_whose_parts_do_not_fit_its_task_is_refused(more: dict[str, Any], message: str) -> None:
    config = {
        "model": "m",
        "dataset": {"source": "csv", "path": "x.csv", "target": "y"},
        "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
        "evaluate": {"primary_metric": "f1"},
    }
    with pytest.raises(ConfigError, match=message):
        parse_config(config | more)


def test_a_schema_has_its_task_and_the_labels_of_an_old_one_decide() -> None:
    config = parse_config(
        {
            "model": "m",
            "dataset": {"source": "sklearn", "name": "iris", "target": "species"},
            "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
            "evaluate": {"primary_metric": "f1_macro"},
        }
    )
    schema = load_dataset(config.dataset, config.task).schema
    assert task_of(schema).name == "classification"
    assert task_of(schema.model_copy(update={"task": None})).labelled
    assert task_of(Schema(features=(), target="y")).name == "regression"
