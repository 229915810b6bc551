from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from serving.json_logging import log_as_json

QUIETED = ("httpx", "alembic", "mlflow", "filelock", "bentoml")


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard output while all loggers write to it; the loggers are restored afterwards."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, QUIETED))}
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    log_as_json("INFO")
    yield written
    root.handlers[:] = handlers
    for logger, level in levels.items():
        logger.setLevel(level)


def logged(output: io.StringIO) -> dict[str, Any]:
    (line,) = output.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_is_a_json_object_with_time_level_event_logger_and_process(output: io.StringIO) -> None:
    logging.getLogger("a.b").warning("%s rows in %s", 3, "Zürich", extra={"color_message": "\x1b[1m3 rows\x1b[0m"})
    line = logged(output)
    assert list(line) == ["time", "level", "event", "logger", "process"]
    assert (line["level"], line["event"], line["logger"]) == ("warning", "3 rows in Zürich", "a.b")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert line["time"].endswith("Z")


def test_text_of_a_client_stays_on_one_line_and_adds_no_field(output: io.StringIO) -> None:
    text = 'x"}\n{"time": "2026-01-01", "level": "error", "event": "forged"}\r\n'
    logging.getLogger("a").error("refused: %s", text)
    assert logged(output)["event"] == f"refused: {text}"


def test_a_traceback_is_a_field(output: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("a").exception("failed")
    line = logged(output)
    assert line["event"] == "failed"
    assert line["traceback"].startswith("Traceback (most recent call last):\n")
    assert line["traceback"].endswith("ValueError: first\nsecond")


def test_records_below_the_level_are_not_written(output: io.StringIO) -> None:
    logging.getLogger("a").debug("x")
    logging.getLogger("mlflow.store").info("x")
    assert output.getvalue() == ""
