"""Rows that a query gives."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ratchet.config import SqlDataset
from ratchet.data.fingerprint import frame_version
from ratchet.errors import ConfigError, DataError, UnavailableError, one_line
from ratchet.settings import without_password

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Seconds in which a server has to answer that it is there.
_CONNECT = 10


class SqlSource:
    """What a SELECT gives, in one read-only transaction; the query runs once for each source that is opened."""

    def __init__(self, config: SqlDataset) -> None:
        self._config = config

    def version(self) -> str:
        """The MD5 of the rows written as CSV. Their order counts, so the query should have an ORDER BY."""
        return frame_version(self._frame)

    def read(self) -> pd.DataFrame:
        """The rows, in the order of the query.

        Raises
        ------
        ConfigError: the variable of ``url_env`` is not set, or the URL is none that SQLAlchemy can open.
        DataError: the query is wrong, would change something, or gives no rows.
        UnavailableError: the database cannot be reached.
        """
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        engine = _engine(self._url())
        try:
            frame = _select(engine, self._config.query)
        finally:
            engine.dispose()
        twice = [name for name, count in Counter(frame.columns).items() if count > 1]
        if twice:
            raise DataError(f"dataset.query: gives two columns {twice[0]!r}: name them apart with AS")
        if frame.empty:
            raise DataError(f"dataset.query: gives no rows at {_shown(engine)}: {_short(self._config.query)}")
        return frame

    def _url(self) -> str:
        if self._config.url is not None:
            return self._config.url
        name = str(self._config.url_env)
        url = os.environ.get(name)
        if not url:
            raise ConfigError(f"dataset.url_env: the variable {name} is not set: give it the database's URL")
        return url


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        parts = make_url(url)
        kind = parts.get_backend_name()
        arguments = {"connect_timeout": _CONNECT} if kind == "postgresql" else {}
        engine = create_engine(parts, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        place = without_password(url).partition("?")[0]  # among the options may be a password
        raise ConfigError(f"dataset.url: {place} cannot be opened: {one_line(error)}") from None
    if kind == "sqlite":
        _require_file(parts.database)
        event.listen(engine, "connect", _read_only)
    return engine


def _read_only(connection: sqlite3.Connection, _: object) -> None:
    """No writing, and no other file: SQLite would make one that is attached and not there."""
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)


def _require_file(database: str | None) -> None:
    """SQLite would make an empty file where there is none."""
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    if not Path(database).is_file():
        raise DataError(f"dataset.url: there is no SQLite file {database}")


def _select(engine: Engine, query: str) -> pd.DataFrame:
    from sqlalchemy.exc import DBAPIError, OperationalError

    # A percent sign in the query is one, and no place for a parameter.
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
    return pd.DataFrame.from_records([tuple(row) for row in rows], columns=names, coerce_float=True)


def _shown(engine: Engine) -> str:
    """Its place; among the options may be a password, which SQLAlchemy would not hide."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def _short(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= 100 else f"{line[:97]}..."
