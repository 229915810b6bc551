"""Alembic migrations of Ratchet's store."""
