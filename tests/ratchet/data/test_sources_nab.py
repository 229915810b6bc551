from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.config import NabDataset, Place, Window
from ratchet.data import dataset_version, load_dataset, open_source
from ratchet.errors import DataError

HOURS = [f"2014-01-01 {hour:02d}:00:00" for hour in range(24)]
WINDOW = ["2014-01-01 05:00:00.000000", "2014-01-01 07:00:00.000000"]


def dataset(tmp_path: Path, labels: Any = None, values: str | None = None, **keys: Any) -> NabDataset:
    folder = tmp_path / "real"
    folder.mkdir(exist_ok=True)
    rows = "".join(f"{time},{hour + 0.5}\n" for hour, time in enumerate(HOURS))
    (folder / "machine.csv").write_text(values if values is not None else f"timestamp,value\n{rows}")
    (tmp_path / "windows.json").write_text(json.dumps({"real/machine.csv": [WINDOW]} if labels is None else labels))
    fields = {"target": "state", "time": "timestamp", **keys}
    places = {"values": Place(path=folder / "machine.csv"), "labels": Place(path=tmp_path / "windows.json")}
    return NabDataset(source="nab", **{**places, **fields})


def test_rows_in_a_window_are_anomalies_including_both_ends(tmp_path: Path) -> None:
    frame = open_source(dataset(tmp_path)).read()
    assert list(frame.columns) == ["timestamp", "value", "state"]
    assert frame.index[frame["state"] == "anomaly"].tolist() == [5, 6, 7]


def test_a_series_becomes_windows_that_are_judged_row_by_row(tmp_path: Path) -> None:
    config = dataset(tmp_path, window=Window(lags={"value": (1, 2)}, horizon=0), positive="anomaly")
    data = load_dataset(config, "anomaly_detection")
    assert data.schema.feature_names == ["timestamp", "value", "value_lag_1", "value_lag_2"]
    assert data.schema.labels == ("anomaly", "normal")
    assert len(data.frame) == 22


def test_the_version_changes_with_the_labels(tmp_path: Path) -> None:
    one = dataset_version(dataset(tmp_path))
    other = dataset_version(dataset(tmp_path, labels={"real/machine.csv": []}))
    assert one != other


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"key": "real/machines.csv"}, "has no windows for 'real/machines.csv'; did you mean 'real/machine.csv'"),
        ({"labels": [1]}, "has no windows for 'real/machine.csv'"),
        ({"labels": {"real/machine.csv": [["2014-01-01"]]}}, "are not a list of pairs of times"),
        ({"labels": {"real/machine.csv": [[None, "2014-01-02"]]}}, "are not a list of pairs of times"),
        ({"labels": {"real/machine.csv": [["soon", "later"]]}}, "expected a time in ISO 8601"),
        ({"values": "time,value\n1,2\n"}, "expected the columns timestamp and value, got time, value"),
        ({"values": "timestamp,value\nsoon,2\n"}, "column 'timestamp': expected a time in ISO 8601"),
        ({"target": "value"}, "'value' is a column of the series"),
    ],
)
def test_an_invalid_series_is_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(dataset(tmp_path, **keys)).read()
    assert message in str(caught.value)


def test_labels_that_are_missing_or_not_json_are_refused(tmp_path: Path) -> None:
    config = dataset(tmp_path)
    (tmp_path / "windows.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        dataset_version(config)
    (tmp_path / "windows.json").unlink()
    with pytest.raises(DataError, match="dataset.labels .*No such file"):
        dataset_version(config)


@pytest.mark.parametrize("keys", [{}, {"path": "a.csv", "url": "http://a/b"}, {"path": "a.csv", "sha256": "0" * 64}])
def test_a_place_is_a_path_or_a_url(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected either 'path' or 'url'|sha256 belongs to a 'url'"):
        Place(**keys)
