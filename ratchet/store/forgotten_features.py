"""Predictions without features: a person asked for their removal, and the row stays for counts and quality.

The features of such a row are JSON's ``null``, which no record can be, and null in the Arrow table of a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from contextlib import closing

import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.store.database import Store
from ratchet.store.erasures import chunks
from ratchet.store.free_pages import vacuum
from ratchet.store.prediction_batches import PredictionBatch, split_id
from ratchet.store.tables import late_predictions, prediction_batches, predictions

# The text of the features of a row that has none.
NO_FEATURES = "null"


def has_features() -> sa.ColumnElement[bool]:
    """Return the condition of the predictions whose features are stored."""
    return sa.cast(predictions.c.features, sa.Text) != NO_FEATURES


def forget_single_rows(store: Store, ids: Collection[str]) -> int:
    """Remove the features of single predictions, in small transactions; return how many rows had some."""
    removed = 0
    for chunk in chunks(sorted(ids)):
        mine = sa.update(predictions).where(predictions.c.id.in_(chunk), has_features())
        with store.transaction() as connection:
            removed += connection.execute(mine.values(features=sa.JSON.NULL)).rowcount
            # No drift window includes them.
            connection.execute(sa.delete(late_predictions).where(late_predictions.c.id.in_(chunk)))
    return removed


def forget_batch_rows(store: Store, ids: Collection[str]) -> int:
    """Remove the features of rows of batches, one batch in each transaction; return the number of these batches."""
    rows: dict[str, set[int]] = defaultdict(set)
    for batch_id, index in filter(None, map(split_id, ids)):
        rows[batch_id].add(index)
    table, changed = prediction_batches.c, 0
    for batch_id in sorted(rows):
        mine = table.id == batch_id
        with store.transaction() as connection:
            found = connection.execute(sa.select(prediction_batches).where(mine)).mappings().one_or_none()
            if found is not None:
                content = PredictionBatch(**found).without_features(rows[batch_id]).content
                connection.execute(sa.update(prediction_batches).where(mine).values(content=content))
                changed += 1
    return changed


def wipe_free_space(store: Store) -> None:
    """Rewrite the tables, so that the files no longer hold what was removed from them.

    SQLite's free space and write-ahead log are emptied. PostgreSQL frees the space of the old rows, and overwrites it
    later; its own log keeps them for as long as the server is set up to keep it.

    Raises
    ------
    StateError: another process reads for longer than the store's timeout; the write-ahead log may still hold the
        features.
    """
    vacuum(store)
    if not store.is_sqlite:
        return
    with store.write_turn(), closing(store.engine.raw_connection()) as connection:
        if connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise StateError(
                f"the write-ahead log of {store.address} is in use and may still hold the features: run the same"
                " command again"
            )
