"""Monitoring of a model in Production: drift, live quality and reports."""
