"""Returning the space of deleted rows to the file system.

SQLite keeps the pages of deleted rows in the file, for new rows. A file with ``auto_vacuum = INCREMENTAL``, which every
file has that this release creates, can give them back a few at a time. PostgreSQL's autovacuum makes the space of
deleted rows available to new ones; its files shrink only where their end is empty.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from ratchet.store.failpoints import failpoint

if TYPE_CHECKING:
    from ratchet.store.database import Store

_INCREMENTAL = 2
# Pages that are given back in one transaction of about 5 ms, and the share of the time that these may take.
_STEP, _SHARE = 8, 0.2
# The share of free pages that stays in the file: giving them back and taking them again would be work for nothing.
_RESERVE = 0.1
# Steps between two checkpoints, at which the file gets smaller.
_STEPS_IN_A_CHECKPOINT = 500


class FreePages(NamedTuple):
    """The pages of an SQLite file.

    Attributes
    ----------
    pages, free: all pages, and those without content.
    page_size: in bytes.
    incremental: whether free pages can be given back a few at a time.
    """

    pages: int
    free: int
    page_size: int
    incremental: bool

    @property
    def excess(self) -> int:
        """The free pages beyond the reserve of the smaller file."""
        return max(0, int((self.free - _RESERVE * self.pages) / (1 - _RESERVE)))


def free_pages(store: Store) -> FreePages | None:
    """Return the pages of the file; None for PostgreSQL.

    Raises
    ------
    StateError: the store cannot be read.
    """
    if not store.is_sqlite:
        return None
    with store.reading() as connection:
        pages, free, size, mode = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_count", "freelist_count", "page_size", "auto_vacuum")
        )
    return FreePages(pages, free, size, mode == _INCREMENTAL)


def give_back(store: Store) -> int:
    """Give free pages of an SQLite file back, in short transactions; return the bytes.

    Nothing happens on PostgreSQL, and in a file of an earlier release, which ``vacuum`` converts.

    Raises
    ------
    StateError: the store cannot be written.
    """
    before = free_pages(store)
    if before is None or not before.incremental or not before.excess:
        return 0
    for step in range(1, -(-before.excess // _STEP) + 1):
        started = time.perf_counter()
        _give_back_a_step(store)
        failpoint("retention_during_vacuum")
        took = time.perf_counter() - started
        if step % _STEPS_IN_A_CHECKPOINT == 0:
            store.checkpoint()
        time.sleep(took * (1 - _SHARE) / _SHARE)
    store.checkpoint()
    after = free_pages(store)
    return 0 if after is None else max(0, before.pages - after.pages) * before.page_size


def _give_back_a_step(store: Store) -> None:
    with store.write_turn(), store.reading() as connection:
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        try:
            # Others would wait for the disk; a power cut leaves the pages in the file.
            driver.execute("PRAGMA synchronous = NORMAL")
            # ``execute`` of this driver would give back a single page.
            driver.executescript(f"PRAGMA incremental_vacuum({_STEP})")
        except sqlite3.Error as error:
            raise store.failure(error) from None
        finally:
            driver.execute("PRAGMA synchronous = FULL")


def vacuum(store: Store) -> int:
    """Write an SQLite file anew without free pages, and let it give pages back from now on; return the bytes saved.

    No other process can write meanwhile. On PostgreSQL, tables are vacuumed as autovacuum does.

    Raises
    ------
    StateError: the store cannot be written, or is locked, or the disk has no room for a second file.
    """
    before = free_pages(store)
    with store.write_turn(), store.autocommit() as connection:
        if before is not None:
            connection.exec_driver_sql("PRAGMA auto_vacuum = INCREMENTAL")
        connection.exec_driver_sql("VACUUM")
    store.checkpoint()
    after = free_pages(store)
    return 0 if before is None or after is None else max(0, before.pages - after.pages) * before.page_size
