"""The store on SQLite or PostgreSQL: predictions, feedback, promotions, runs, leases."""
