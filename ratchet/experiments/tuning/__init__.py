"""The search for hyper-parameters: spaces, trials on folds of the training rows, and studies that outlive a crash.

Optuna is known to ``proposals``, ``book`` and ``figures`` alone, Dask to ``engines``.
"""
