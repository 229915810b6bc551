"""Rows of a database query."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ratchet.config import SqlDataset
from ratchet.data.column_reader import rule_of
from ratchet.data.sources.frame import FrameSource
from ratchet.errors import ConfigError, DataError, UnavailableError, one_line
from ratchet.settings import without_password

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CONNECT_TIMEOUT = 10  # seconds


class SqlSource(FrameSource[SqlDataset]):
    """The rows of a SELECT, in the order of the query, from one read-only transaction.

    The order is part of the version, so the query needs an ORDER BY.
    """

    def _load(self) -> pd.DataFrame:
        """Run the query.

        Raises
        ------
        ConfigError: the variable of ``url_env`` is not set, or SQLAlchemy cannot open the URL.
        DataError: the query is wrong, would change something, or returns no rows.
        UnavailableError: the database is unreachable.
        """
        engine = _engine(self._url())
        try:
            rows, names = _select(engine, self._config.query)
        finally:
            engine.dispose()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"dataset.query: returns two columns {twice!r}: rename one with AS")
        if not rows:
            raise DataError(f"dataset.query: returns no rows at {_shown(engine)}: {_short(self._config.query)}")
        frame = pd.DataFrame.from_records(rows, columns=names, coerce_float=True)
        for place, name in enumerate(names):
            values = [row[place] for row in rows]
            if rule_of(self._config, name).type in ("category", "text"):
                frame[name] = pd.Series(values, dtype=object)
            elif frame[name].dtype == "float64" and all(value is None or type(value) is int for value in values):
                frame[name] = pd.array(values, dtype="Int64")  # floats would lose digits
        return frame

    def _url(self) -> str:
        if self._config.url is not None:
            return self._config.url
        name = str(self._config.url_env)
        url = os.environ.get(name)
        if not url:
            raise ConfigError(f"dataset.url_env: the variable {name} is not set: set it to the URL of the database")
        return url


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        parts = make_url(url)
        kind = parts.get_backend_name()
        arguments = {"connect_timeout": _CONNECT_TIMEOUT} if kind == "postgresql" else {}
        engine = create_engine(parts, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        place = without_password(url).partition("?")[0]  # the options may have a password
        raise ConfigError(f"dataset.url: {place} cannot be opened: {one_line(error)}") from None
    if kind == "sqlite":
        _require_file(parts.database)
        event.listen(engine, "connect", _read_only)
    return engine


def _read_only(connection: sqlite3.Connection, _: object) -> None:
    """Refuse writes, and ATTACH, which would create a missing file."""
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)


def _require_file(database: str | None) -> None:
    """Refuse a missing file, which SQLite would create."""
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    if not Path(database).is_file():
        raise DataError(f"dataset.url: there is no SQLite file {database}")


def _select(engine: Engine, query: str) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return the rows of a query, and the names of their columns."""
    from sqlalchemy.exc import DBAPIError, OperationalError

    # Without parameters, a percent sign in the query is a percent sign.
    options: dict[str, Any] = {"no_parameters": True, "postgresql_readonly": True}
    connected = False
    try:
        with engine.connect().execution_options(**options) as connection:
            connected = True
            result = connection.exec_driver_sql(query)
            if not result.returns_rows:
                raise DataError(f"dataset.query: expected a SELECT, got {_short(query)}; it was rolled back")
            rows, names = result.fetchall(), list(result.keys())
            connection.rollback()
    except DBAPIError as error:
        if isinstance(error, OperationalError) and not connected:
            raise UnavailableError(f"{_shown(engine)} cannot be reached: {one_line(error.orig)}") from None
        raise DataError(f"dataset.query at {_shown(engine)}: {one_line(error.orig)}: {_short(query)}") from None
    return [tuple(row) for row in rows], names


def _shown(engine: Engine) -> str:
    """Return the URL without options, which may have a password that SQLAlchemy would show."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def _short(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= 100 else f"{line[:97]}..."
