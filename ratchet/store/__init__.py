"""The store: predictions, feedback, promotions and runs, on SQLite or PostgreSQL."""
