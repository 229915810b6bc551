"""Ratchet's own database: SQLite in WAL mode by default, PostgreSQL with ``RATCHET_DATABASE_URL``.

Opening a store applies the migrations in ``migrations/``, which create and change the tables of
``ratchet.store.tables``.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from ratchet.errors import ConfigError, StateError, one_line
from ratchet.private_files import create_file, restrict
from ratchet.settings import Settings, prepare_home, without_password
from ratchet.store import sqlite_write_queue
from ratchet.store.sqlite import write_ahead

# The newest migration in ratchet/store/migrations/versions; a test compares the two.
HEAD = "0013"
# MLflow may share the database, and its table is named alembic_version.
VERSION_TABLE = "ratchet_alembic_version"
# Seconds that a writer waits for another one.
TIMEOUT = 30.0
# Seconds that a writer of an SQLite file waits in the queue.
_LONGEST_TURN = 0.1
# Size in bytes beyond which the write-ahead log is emptied while other writers wait.
_LARGEST_WAL = 64 * 2**20
# The execution option of a connection that only reads and takes no write lock.
_READING = "ratchet_reading"


class Store:
    """Connections to the store, whose schema is up to date.

    Parameters
    ----------
    url: an SQLAlchemy URL of SQLite or PostgreSQL.
    timeout: seconds that a writer waits for another one.

    Raises
    ------
    ConfigError: the URL is not valid, or names another kind of database.
    StateError: the store cannot be reached or written, or its schema is newer than this code.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._url = _parsed(url)
        try:
            self._make_private()
            self._migrate()
        except BaseException:
            self.engine.dispose()
            raise

    @property
    def address(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is an SQLite file."""
        return self._url.get_backend_name() == "sqlite"

    @cached_property
    def engine(self) -> sa.Engine:
        """The connection pool."""
        if not self.is_sqlite:
            # With these, a server that is gone is detected in seconds; the kernel's default is a quarter of an hour.
            keepalive = {"tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 2}
            timeouts = {
                "connect_timeout": max(2, int(self._timeout)),
                "options": f"-c lock_timeout={int(self._timeout * 1000)}",
            }
            return sa.create_engine(self._url, pool_pre_ping=True, connect_args={**timeouts, **keepalive})
        engine = sa.create_engine(self._url, connect_args={"timeout": self._timeout})
        sa.event.listen(engine, "connect", self._prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def transaction(self, lock: str | None = None, *, durable: bool = True) -> Iterator[sa.Connection]:
        """Open a transaction that may write; on SQLite it takes the one write lock at its start.

        Parameters
        ----------
        lock: a name; PostgreSQL runs one transaction with this name at a time, SQLite one transaction in any case.
        durable: whether it waits for the disk, and lets others wait meanwhile. A power cut can undo the last
            transactions that did not.

        Raises
        ------
        StateError: the store is locked, read-only or unreachable; nothing was written.
        """
        try:
            with self.write_turn(), self._begun(durable=durable) as connection:
                if lock is not None and not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(zlib.crc32(lock.encode()))))
                yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self.failure(error) from None

    @contextmanager
    def _begun(self, *, durable: bool) -> Iterator[sa.Connection]:
        if durable:
            with self.engine.begin() as connection:
                yield connection
            return
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            if self.is_sqlite:
                driver.execute("PRAGMA synchronous = NORMAL")
            try:
                with connection.begin():
                    if not self.is_sqlite:
                        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                    yield connection
            finally:
                if self.is_sqlite:
                    driver.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection for reading, which never waits for a writer.

        Raises
        ------
        StateError: the store cannot be read.
        """
        try:
            with self.engine.connect() as connection:
                yield connection.execution_options(**{_READING: True})
        except DBAPIError as error:
            raise StateError(f"the store {self.address}: {one_line(error)}") from None

    @contextmanager
    def autocommit(self) -> Iterator[sa.Connection]:
        """Open a connection for statements that no transaction may contain.

        Raises
        ------
        StateError: a statement failed.
        """
        options: dict[str, Any] = {_READING: True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        try:
            with self.engine.connect() as connection:
                yield connection.execution_options(**options)
        except DBAPIError as error:
            raise self.failure(error) from None

    @contextmanager
    def write_turn(self) -> Iterator[None]:
        """Wait briefly for earlier writers of the same SQLite file; see ``sqlite_write_queue``."""
        if not self.is_sqlite or not self._url.database:
            yield
            return
        with sqlite_write_queue.write_turn(self._url.database, _LONGEST_TURN):
            yield

    def checkpoint(self) -> None:
        """Copy SQLite's write-ahead log into the database, for connections that do not do so themselves.

        Other writers continue meanwhile, unless the log has grown so large that it is emptied while they wait.

        Raises
        ------
        StateError: the store cannot be written.
        """
        if not self.is_sqlite or not self._url.database:
            return
        log = Path(f"{self._url.database}-wal")
        with self.reading() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            if log.exists() and log.stat().st_size > _LARGEST_WAL:
                with self.write_turn():
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def now(self, connection: sa.Connection) -> float:
        """Return the seconds since the epoch by the one clock that all processes on this store share."""
        if self.is_sqlite:
            return time.time()
        return float(connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0)

    def insert_new(self, connection: sa.Connection, table: sa.Table, **values: Any) -> bool:
        """Insert a row unless its key exists; return whether it was inserted."""
        dialect = sqlite if self.is_sqlite else postgresql
        statement = dialect.insert(table).values(**values).on_conflict_do_nothing()
        return connection.execute(statement).rowcount == 1

    def failure(self, error: Exception) -> StateError:
        """Return the error for a statement that the database refused."""
        return StateError(f"the store {self.address}: {one_line(error)}; nothing was written")

    def _make_private(self) -> None:
        """Make the file of SQLite private; SQLite gives its log and its index the mode of the file."""
        name = self._url.database
        if not self.is_sqlite or not name or name == ":memory:" or name.startswith("file:"):
            return
        with contextlib.suppress(OSError):  # SQLite reports what is wrong with the folder
            create_file(Path(name))
            for suffix in ("-wal", "-shm"):
                restrict(Path(name + suffix))

    def _prepare_sqlite(self, connection: Any, _: Any) -> None:
        # None: ``_begin_sqlite`` begins transactions; the driver would begin them at the first write.
        connection.isolation_level = None
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            # A new file can give the pages of deleted rows back a few at a time; see ``free_pages``.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        write_ahead(connection, self._timeout)
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    def _migrate(self) -> None:
        with self.reading() as connection:
            if _revision(connection) == HEAD:
                return
        with self.transaction(lock="migration") as connection:
            found = _revision(connection)
            if found is not None and found > HEAD:
                raise StateError(
                    f"the store {self.address} has schema {found}, this Ratchet supports up to {HEAD}:"
                    " upgrade Ratchet, or point RATCHET_DATABASE_URL at another store"
                )
            if found != HEAD:
                _upgrade(connection, HEAD)


def open_store(settings: Settings, timeout: float | None = None) -> Store:
    """Open the store that the settings name, with their timeout or another one in seconds.

    Raises
    ------
    StateError: it cannot be opened.
    """
    if settings.database_url is None:
        prepare_home(settings)
    return Store(settings.store_url, settings.store_timeout if timeout is None else timeout)


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.engine.make_url(url)
    except sa.exc.ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(
            f"RATCHET_DATABASE_URL: got {without_password(url)!r}, expected postgresql://user:password@host/name"
            " or sqlite:///path"
        )
    return parsed


def _revision(connection: sa.Connection) -> str | None:
    """Return the schema's revision; read without Alembic, since importing it takes longer than opening a store."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(sa.select(sa.table(VERSION_TABLE, sa.column("version_num"))))
    return revision


def _upgrade(connection: sa.Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _begin_sqlite(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get(_READING):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
