"""The registry: the version in Production, the promotion ledger, and the gates before a promotion."""
