"""The journal mode of Ratchet's SQLite files."""

from __future__ import annotations

import sqlite3
import time

_POLL = 0.005


def write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Put the file into WAL mode, in which readers do not wait for writers.

    The mode stays with the file. SQLite's own timeout does not apply to changing it: of two connections that open a new
    file at the same time, one is refused at once, and has to retry here.

    Parameters
    ----------
    connection: a connection without a transaction.
    timeout: seconds to wait for other connections.

    Raises
    ------
    sqlite3.OperationalError: the file is locked for longer, or cannot be written.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # The low byte is the kind of error, the rest its reason.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(_POLL)
