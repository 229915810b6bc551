"""The names of ``import ratchet`` for notebooks and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.inference.production_model import ProductionModel

_HISTORY = ("when", "kind", "state", "from_version", "to_version", "reason", "actor", "run_id", "data_version")


def production(model: str | None = None, version: str | int | None = None) -> ProductionModel:
    """Load the version of a model in Production, or another one.

    Parameters
    ----------
    model: the registered name; None for the only model.
    version: its number; None for the one in Production.

    Raises
    ------
    ConfigError: there is no such model, or there are several and none is given.
    RegistryError: nothing is in Production, there is no such version, or MLflow is unreachable.
    PackageError: the package is damaged or not trusted, or fails its golden predictions.
    StateError: the home cannot be written.
    """
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    settings = load_settings()
    from ratchet.inference.production_model import open_production
    from ratchet.tracking import choose_model

    return open_production(settings, choose_model(settings, model), None if version is None else str(version))


def history(model: str | None = None, limit: int | None = None) -> pd.DataFrame:
    """Return the changes of Production and the refused versions, newest first.

    Parameters
    ----------
    model: the registered name; None for the only model.
    limit: number of entries; None for all.

    Returns
    -------
    A row for each entry, with the columns ``when`` (UTC), ``kind`` (promote, rollback, repair or moved), ``state``
    (completed, refused, intended or abandoned), ``from_version``, ``to_version``, ``reason``, ``actor``, ``run_id`` and
    ``data_version``.

    Raises
    ------
    ConfigError, RegistryError: as for ``production``.
    StateError: the store cannot be opened.
    """
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    settings = load_settings()
    import pandas as pd

    from ratchet.registry.production_pointer import ProductionPointer
    from ratchet.tracking import choose_model

    entries = ProductionPointer(settings, choose_model(settings, model)).ledger.history(limit)
    frame = pd.DataFrame([[getattr(entry, name) for name in _HISTORY] for entry in entries], columns=list(_HISTORY))
    return frame.assign(when=pd.to_datetime(frame["when"], utc=True))
