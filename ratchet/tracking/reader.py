"""Reads of MLflow's registry and runs, without MLflow's own code where its database is known.

``import mlflow`` takes seconds of processor time, since it brings pandas, FastAPI and tools for language models.
``open_reader`` therefore reads an SQLite file or PostgreSQL directly, if the database has a schema that the tests
compare with MLflow's client. Any other database, and a server, is read through the client.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ratchet.settings import Settings


@dataclass(frozen=True)
class RegisteredVersion:
    """A registered version, with the names of MLflow's entity.

    Attributes
    ----------
    creation_timestamp: milliseconds since the epoch.
    """

    name: str
    version: str
    run_id: str | None
    current_stage: str | None
    creation_timestamp: int | None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredRun:
    """A run; ``datasets`` are the names of its inputs."""

    run_id: str
    name: str
    experiment: str
    artifact_uri: str
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    datasets: tuple[str, ...]


class Reader(Protocol):
    """What is read of MLflow. Each method raises a RegistryError where MLflow cannot be read."""

    def registered_models(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        ...

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Return all versions of a model, lowest first; none where there is no such model."""
        ...

    def version(self, model: str, number: str) -> RegisteredVersion | None:
        """Return one version; None where it does not exist, or was deleted."""
        ...

    def location(self, model: str, number: str) -> str | None:
        """Return the URI of a version's artifacts; None where it does not exist, or was deleted."""
        ...

    def aliased(self, model: str, alias: str) -> str | None:
        """Return the number of the version that has an alias; None without one."""
        ...

    def run(self, run_id: str) -> StoredRun | None:
        """Return a run, also a deleted one; None where it does not exist."""
        ...


def open_reader(settings: Settings) -> Reader:
    """Return a reader of the tracking store and registry in the settings.

    Raises
    ------
    RegistryError: the database cannot be reached.
    """
    from ratchet.tracking.client_reader import ClientReader
    from ratchet.tracking.database_reader import DatabaseReader, has_known_schema

    several = os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in ("true", "1")
    if not several and settings.has_tracking_store and has_known_schema(settings):
        return DatabaseReader(settings)
    return ClientReader(settings)
