"""Logs on standard output, one JSON object per line."""

from __future__ import annotations

import logging
import sys
import time

from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter

_FIELDS = {
    "asctime": "time",
    "levelname": "level",
    "message": "event",
    "name": "logger",
    "process": "process",
    "exc_info": "traceback",
}


class _Formatter(JsonFormatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def process_log_record(self, log_data: LogData) -> LogData:
        log_data["level"] = log_data["level"].lower()
        return log_data


def log_as_json(level: str) -> None:
    """Write the records of all loggers to standard output as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    # uvicorn repeats its message with colours as an attribute of the record.
    reserved = [*RESERVED_ATTRS, "color_message"]
    fields = [name for name in _FIELDS if name != "exc_info"]
    handler.setFormatter(_Formatter(fields, rename_fields=_FIELDS, reserved_attrs=reserved, json_ensure_ascii=False))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "bentoml"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Below this level they log a line per request or query, and uvicorn the steps of a start.
    for name in ("httpx", "alembic", "mlflow", "filelock", "bentoml", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
