"""What every SQLite file of ours is set to before it is used."""

from __future__ import annotations

import sqlite3
import time

_PAUSE = 0.005


def write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Put the file into WAL mode, in which readers do not wait for writers.

    The mode stays with the file, so that one connection alone ever changes it. Those that open a new file in the same
    moment are refused without the wait that every other statement is given (two that hold a read lock and both want
    the exclusive one would wait for each other), and so have to wait here.

    Parameters
    ----------
    connection: a connection in no transaction.
    timeout: how long to wait for others, in seconds.

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
            # The low byte is the kind; the rest says which of several reasons for it.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(_PAUSE)
