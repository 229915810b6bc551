"""Lags by time and group: each is the value of its series at exactly the time that its name says."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.config import CsvDataset, ParquetDataset
from ratchet.data import LoadedDataset, load_dataset
from ratchet.data.windows import in_order
from ratchet.errors import DataError
from tests.conftest import ROOT

CASES = ROOT / "tests" / "cases"
STORES: dict[str, Any] = {"path": CASES / "stores.csv", "time": "day", "target": "sales"}
GAPS: dict[str, Any] = {"path": CASES / "gaps.csv", "time": "hour", "target": "load"}


def dataset(**keys: Any) -> CsvDataset:
    defaults = {"source": "csv", "path": "x.csv", "time": "at", "target": "y", "window": {"lags": {"y": [1, 2]}}}
    return CsvDataset.model_validate(defaults | keys)


def load(lags: list[int], **keys: Any) -> LoadedDataset:
    return load_dataset(dataset(window={"lags": {keys["target"]: lags}}, **keys), "forecasting")


def series(times: pd.DatetimeIndex, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"at": times.strftime("%Y-%m-%dT%H:%M:%S"), **columns, "y": np.arange(len(times)) * 1.0})


def test_two_series_of_one_file_without_a_group_are_refused_with_two_rows_of_one_day() -> None:
    with pytest.raises(DataError, match=r"rows 1 and 2 have one time, 2025-01-01T00:00:00 .*dataset.group: store"):
        load([1, 7], **STORES)


def test_lags_stay_within_a_store() -> None:
    data = load([1, 7], **STORES, group="store", fill="drop")
    raw = pd.read_csv(STORES["path"], parse_dates=["day"])
    sold = dict(zip(zip(raw["store"], raw["day"], strict=True), raw["sales"], strict=True))
    for row in data.frame.to_dict("records"):
        day = pd.Timestamp(row["day"])
        assert [row["sales"], row["sales_lag_1"], row["sales_lag_7"]] == [
            sold[row["store"], day - pd.Timedelta(days=back)] for back in (0, 1, 7)
        ]
    whole = [(store, day) for store, day in sold if all((store, day - pd.Timedelta(days=k)) in sold for k in (1, 7))]
    assert len(data.frame) == len(whole)


def test_the_group_is_a_category_of_the_model_unless_it_is_dropped() -> None:
    rows = pd.DataFrame({"at": ["2026-01-01", "2026-01-02", "2026-01-03"] * 2, "shop": [1] * 3 + [2] * 3, "y": 1.0})
    assert dataset(group="shop").columns["shop"].type == "category"
    assert dataset(group="shop", columns={"shop": {"type": "number"}}).columns["shop"].type == "number"
    assert in_order(rows, dataset(group="shop"))["shop"].tolist() == [1, 2]
    kept = load([1], **STORES, group="store", fill="drop")
    assert next(field for field in kept.schema.features if field.name == "store").type == "category"
    dropped = load([1], **STORES, group="store", fill="drop", drop=["store"])
    assert "store" not in dropped.schema.feature_names
    assert len(dropped.frame) == len(kept.frame)


def test_a_gap_is_refused_with_its_hours() -> None:
    expected = r"step is 1 hour, but 2025-01-13T12:00:00 to 2025-01-14T17:00:00 are missing \(30 rows\).*fill: drop"
    with pytest.raises(DataError, match=expected):
        load([1, 24], **GAPS)


@pytest.mark.parametrize("fill", ["drop", "ffill"])
def test_after_a_gap_lags_are_left_out_or_the_newest_value_before(fill: str) -> None:
    raw = pd.read_csv(GAPS["path"], parse_dates=["hour"]).set_index("hour")["load"]
    frame = load([1, 24], **GAPS, fill=fill).frame
    assert set(pd.to_datetime(frame["hour"])) <= set(raw.index), "no row is made up"
    past = {k: raw.reindex(pd.to_datetime(frame["hour"]) - pd.Timedelta(hours=k)) for k in (1, 24)}
    if fill == "drop":
        assert len(frame) == 600 - 30 - 24 - 24
    else:
        assert len(frame) == 600 - 30 - 24
        past = {k: raw.reindex(values.index, method="ffill") for k, values in past.items()}
    for k, values in past.items():
        assert frame[f"load_lag_{k}"].tolist() == values.tolist()


STEPS = {"h": "1 hour", "5min": "5 minutes", "D": "1 day", "W": "7 days", "250ms": "250000 microseconds"}
CALENDAR = {
    "B": "1 business day",
    "MS": "1 month",
    "ME": "1 month",
    "BMS": "1 month",
    "BME": "1 month",
    "QS-FEB": "3 months",
    "QE": "3 months",
    "YS": "12 months",
}


@pytest.mark.parametrize(("freq", "name"), (STEPS | CALENDAR).items())
def test_a_step_may_be_a_duration_or_one_of_the_calendar(freq: str, name: str) -> None:
    times = pd.date_range("2020-01-01", periods=30, freq=freq)
    rows = pd.DataFrame({"at": times, "y": np.arange(30.0)})
    even = in_order(rows, dataset())
    assert even["y_lag_2"].tolist() == list(range(28))
    gap = rows.drop(index=[20, 21])
    with pytest.raises(DataError, match=rf"the step is {name}, but .* are missing \(2 rows\)"):
        in_order(gap, dataset())
    dropped = in_order(gap, dataset(fill="drop"))
    assert dropped["y"].tolist() == [*range(2, 20), *range(24, 30)]
    assert (dropped["y"] - dropped["y_lag_1"] == 1).all()
    filled = in_order(gap, dataset(fill="ffill"))
    assert filled["y_lag_1"].tolist() == [*range(1, 19), 19, *range(22, 29)]
    assert filled["y_lag_2"].tolist() == [*range(18), 19, 19, *range(22, 28)]


def test_a_step_that_is_not_whole_is_refused_and_filled_with_the_newest_value_before() -> None:
    times = pd.date_range("2026-01-01", periods=8, freq="5min")
    rows = series(times.delete(5).insert(5, times[5] - pd.Timedelta(minutes=1)))
    with pytest.raises(DataError, match="T00:24:00 is 4 minutes after 2026-01-01T00:20:00.*fill: ffill"):
        in_order(rows, dataset())
    assert in_order(rows, dataset(fill="drop"))["y"].tolist() == [2, 3, 4]
    assert in_order(rows, dataset(fill="ffill"))["y_lag_1"].tolist() == [1, 2, 3, 3, 5, 6]


def test_of_repeated_times_the_config_says_which_row_is_kept() -> None:
    times = pd.date_range("2026-01-01", periods=5, freq="h")
    rows = series(times.append(times[2:4]))
    with pytest.raises(DataError, match=r"rows 3 and 6 have one time, 2026-01-01T02:00:00 \(4 such rows\).*repeated"):
        in_order(rows, dataset())
    assert in_order(rows, dataset(repeated="first"))["y_lag_1"].tolist() == [1, 2, 3]
    assert in_order(rows, dataset(repeated="last"))["y_lag_1"].tolist() == [1, 5, 6]


def test_columns_that_are_not_known_beforehand_are_shifted_by_time_and_group() -> None:
    times = pd.date_range("2026-01-01", periods=4, freq="D")
    both = pd.concat([series(times, shop=shop, wind=[f"{shop}{day}" for day in range(4)]) for shop in "ab"])
    config = dataset(group="shop", window={"lags": {"y": [2]}, "horizon": 2})
    frame = in_order(both.sample(frac=1, random_state=2, ignore_index=True), config)
    assert frame["wind"].sort_values().tolist() == ["a0", "a1", "b0", "b1"]
    assert (frame["wind"].str[0] == frame["shop"]).all()


def test_a_lag_is_read_by_the_rule_of_its_column(tmp_path: Path) -> None:
    times = pd.date_range("2026-01-01", periods=8, freq="D")
    rows = pd.DataFrame({"at": times, "state": [1, 2] * 4, "wind": [3.0, -999.0] * 4, "y": range(8)})
    rows.to_parquet(tmp_path / "rows.parquet")
    rules = {"state": {"type": "category"}, "wind": {"missing": [-999]}}
    window = {"lags": {"state": [1], "wind": [1, 2]}}
    config = ParquetDataset(
        source="parquet", path=tmp_path / "rows.parquet", time="at", target="y", columns=rules, window=window
    )
    frame = load_dataset(config, "forecasting").frame
    assert frame["state_lag_1"].tolist() == ["2", "1"] * 3
    assert frame["wind_lag_1"].isna().tolist() == [True, False] * 3
    assert frame["wind_lag_2"].dropna().unique().tolist() == [3]


def test_several_columns_can_tell_the_series_apart() -> None:
    times = pd.date_range("2026-01-01", periods=4, freq="D")
    rows = pd.concat([series(times, shop=shop, item=item) for shop in "ab" for item in "xyz"], ignore_index=True)
    with pytest.raises(DataError, match=r"shop a.*dataset.group: \[shop, item\]"):
        in_order(rows, dataset(group="shop"))
    frame = in_order(rows, dataset(group=["shop", "item"]))
    assert (frame["y"] - frame["y_lag_2"] == 2).all()
    assert len(frame) == 6 * 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"group": "stor"}, "dataset.group: there is no column 'stor'; did you mean 'store'"),
        ({"group": "store", "window": {"lags": {"y": [4]}}}, "longest lag is 4, and the longest series has 4 rows"),
        ({"group": "area"}, "dataset.group: a value of 'area' is missing in row 2"),
    ],
)
def test_a_group_that_does_not_divide_the_rows_is_refused(keys: dict[str, Any], message: str) -> None:
    times = pd.date_range("2026-01-01", periods=4, freq="D")
    rows = pd.concat([series(times, store=store, area=["n", None, "s", "s"]) for store in "ab"], ignore_index=True)
    with pytest.raises(DataError, match=message):
        in_order(rows, dataset(**keys))


def test_a_series_of_which_no_row_has_all_its_lags_is_refused() -> None:
    rows = series(pd.DatetimeIndex(["2026-01-01", "2026-01-02", "2026-01-04", "2026-01-05", "2026-01-07"]))
    with pytest.raises(DataError, match="no row has all its lags"):
        in_order(rows, dataset(fill="drop"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"group": "y"}, "group: 'y' is the target"),
        ({"group": ["shop", "at"]}, "group: 'at' is the time"),
        ({"group": "shop", "window": None}, "group: needs 'window'"),
        ({"fill": "drop", "window": None}, "fill: needs 'window'"),
        ({"repeated": "last", "window": None}, "repeated: needs 'window'"),
        ({"fill": "interpolate"}, "fill"),
    ],
)
def test_keys_of_a_series_that_do_not_fit_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset(**keys)


Observed = list[tuple[str, int]]
# The shop and the time of each row, in tens of minutes; shops have one step in common, most often.
row = st.tuples(st.sampled_from("abc"), st.sampled_from([*range(0, 90, 6), 7, 20]))
observed = st.lists(row, min_size=3, max_size=40)


def expected_rows(rows: Observed, fill: str | None, lags: tuple[int, int]) -> list[tuple[str, int, list[int]]] | None:
    """Return shop, time and the positions of the lags of each row, or None where the series is refused."""
    first = {row: at for at, row in reversed(list(enumerate(rows)))}
    times = {shop: sorted(time for other, time in first if other == shop) for shop, _ in first}
    steps = Counter(later - earlier for series in times.values() for earlier, later in pairwise(series))
    if max(map(len, times.values())) <= max(lags) or (fill is None and len(steps) > 1):
        return None
    step = min(step for step, count in steps.items() if count == max(steps.values()))
    found = []
    for shop, time in sorted(first, key=lambda row: row[1]):
        wanted = [time - lag * step for lag in lags]
        if fill == "ffill":
            wanted = [max((known for known in times[shop] if known <= past), default=-1) for past in wanted]
        if all((shop, past) in first for past in wanted):
            found.append((shop, time, [first[shop, past] for past in wanted]))
    return found or None


@settings(max_examples=200)
@given(rows=observed, fill=st.sampled_from([None, "drop", "ffill"]))
def test_a_lag_is_what_it_is_called_or_the_series_is_refused(rows: Observed, fill: str | None) -> None:
    """Gaps, uneven steps, repeated times and several series, in any order."""
    start = pd.Timestamp("2026-01-01")
    times = [start + pd.Timedelta(minutes=10 * time) for _, time in rows]
    frame = pd.DataFrame({"at": times, "shop": [shop for shop, _ in rows], "y": np.arange(len(rows))})
    config = dataset(group="shop", fill=fill, repeated="first", window={"lags": {"y": [1, 3]}})
    expected = expected_rows(rows, fill, (1, 3))
    if expected is None:
        with pytest.raises(DataError):
            in_order(frame, config)
        return
    found = in_order(frame, config)
    minutes = (pd.to_datetime(found["at"]) - start) // pd.Timedelta(minutes=10)
    lags = found[["y_lag_1", "y_lag_3"]].to_numpy().tolist()
    assert sorted(zip(found["shop"], minutes, lags, strict=True)) == sorted(expected)
    assert minutes.is_monotonic_increasing


def test_a_series_without_gaps_has_the_lags_of_a_shift() -> None:
    rows = series(pd.date_range("2026-01-01", periods=50, freq="h"), wind=np.arange(50) * 2.0)
    frame = in_order(rows, dataset(window={"lags": {"y": [2, 24]}, "horizon": 2}))
    lags = {f"y_lag_{lag}": rows["y"].shift(lag) for lag in (2, 24)}
    shifted = pd.DataFrame({"wind": rows["wind"].shift(2), **lags})
    pd.testing.assert_frame_equal(frame[list(shifted)], shifted.iloc[24:].reset_index(drop=True))
