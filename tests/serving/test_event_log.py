"""The log lines of predictions."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest

from ratchet.store.predictions import Prediction
from serving.event_log import EventLog

ROW: Prediction = {
    "id": "01a1fcb9-0596-7201-bf71-63385e1f35db",
    "created_at": 1_795_000_000.0625,
    "model": "iris",
    "version": "1",
    "features": {"colour": 'a "deep" blue', "size": 1.5},
    "prediction": "setosa",
    "score": 0.9,
    "probabilities": {"setosa": 0.9, "other": 0.1},
    "latency": 0.000_299_4,
}


def lines(*requests: list[Prediction], include_features: bool = False) -> list[dict[str, Any]]:
    """The lines that are written for requests."""
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(buffer))
        EventLog(enabled=True, include_features=include_features).log_predictions(requests)
        return [json.loads(line) for line in buffer.getvalue().splitlines()]


def test_the_line_of_one_prediction_has_the_fields_of_a_line_of_many() -> None:
    one, many = lines([ROW], [ROW, ROW])
    assert one == {
        "time": "2026-11-18T11:06:40.062Z",
        "level": "info",
        "event": "prediction",
        "prediction_id": ROW["id"],
        "model": "iris",
        "version": "1",
        "latency_ms": 0.299,
    }
    assert many == {**one, "event": "predictions", "last_prediction_id": ROW["id"], "count": 2}


@pytest.mark.parametrize("name", ['a "b" \\ c', "größe\n", "\x7f\u2028", "100 %d"])
def test_a_line_is_json_whatever_a_model_is_called(name: str) -> None:
    [line] = lines([{**ROW, "model": name, "version": name}])
    assert (line["model"], line["version"]) == (name, name)


def test_features_are_in_the_line_if_asked_for() -> None:
    [one, many] = lines([ROW], [ROW, ROW], include_features=True)
    assert one["features"] == ROW["features"]
    assert many["features"] == [ROW["features"]] * 2


@pytest.mark.parametrize("seconds", [0.0, 0.999_9, 1_795_000_059.999_6, 1_795_000_060.0])
def test_a_time_keeps_its_milliseconds_over_the_end_of_a_second(seconds: float) -> None:
    [line] = lines([{**ROW, "created_at": seconds}])
    assert line["time"].endswith(f"{int(seconds % 60):02d}.{int(seconds * 1000) % 1000:03d}Z")


def test_a_reader_that_has_stopped_does_not_stop_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stdout, os.fdopen(reader, "rb") as unread:
        monkeypatch.setattr(sys, "stdout", stdout)
        log = EventLog(enabled=True, include_features=False)
        versions = [str(number) for number in range(2000)]  # more than a pipe holds
        for version in versions:
            log.log_predictions([[{**ROW, "version": version}]])
        assert [json.loads(unread.readline())["version"] for _ in versions] == versions


def test_lines_that_find_no_room_are_dropped_and_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.event_log._MOST_WAITING", 1000)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stdout, os.fdopen(reader, "rb") as unread:
        monkeypatch.setattr(sys, "stdout", stdout)
        log = EventLog(enabled=True, include_features=False)
        while not caplog.records:
            log.log_predictions([[ROW]])
        assert "log lines are dropped: standard output is not read" in caplog.text
        os.set_blocking(reader, False)
        while log._bytes_waiting:  # until the thread has written what waits
            unread.read(65536)
