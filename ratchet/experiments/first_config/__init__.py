"""A first config for a file: what its columns are, which task, metric and estimators fit, and why."""
