"""Alembic's entry point, on the connection of the store."""

from alembic import context

from ratchet.store.database import VERSION_TABLE
from ratchet.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
