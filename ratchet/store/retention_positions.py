"""How far retention has moved a model's predictions out of the store."""

from __future__ import annotations

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.tables import retention_positions

# Characters of the id of a prediction, or of its batch.
_ID_LENGTH = 36


def note_moved(store: Store, connection: sa.Connection, model: str, last: str, *, archived: bool) -> None:
    """Note in the transaction that deletes predictions the highest id of them; a position never moves back."""
    table, moved_at = retention_positions, store.now(connection)
    values = {"last_prediction": last, "archived": archived, "moved_at": moved_at}
    if not store.insert_new(connection, table, model=model, **values):
        behind = sa.and_(table.c.model == model, table.c.last_prediction < last)
        connection.execute(sa.update(table).where(behind).values(**values))


def why_gone(connection: sa.Connection, model: str, prediction_id: str) -> str | None:
    """Return why a prediction that is not in the store may have been in it; None if retention has not come so far."""
    if prediction_id[_ID_LENGTH : _ID_LENGTH + 1] not in ("", "#") or len(prediction_id) < _ID_LENGTH:
        return None
    table = retention_positions.c
    found = connection.execute(sa.select(table.last_prediction, table.archived).where(table.model == model))
    row = found.one_or_none()
    if row is None or prediction_id[:_ID_LENGTH] > row.last_prediction[:_ID_LENGTH]:
        return None
    return "has been archived" if row.archived else "has been deleted"
