"""Reads of MLflow's database, an SQLite file or PostgreSQL, with SQLAlchemy alone.

The tests compare every answer with that of MLflow's client, on both kinds of database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ratchet.errors import RegistryError, one_line
from ratchet.tracking.reader import RegisteredVersion, StoredRun

if TYPE_CHECKING:
    from ratchet.settings import Settings

# MLflow's schemas that the tests have compared. A newer MLflow is read through its client, until it is added here.
KNOWN_SCHEMAS = frozenset({"dc11669786a5"})
# Seconds that a reader waits for a writer of an SQLite file.
_TIMEOUT = 20.0
# Without MLflow's workspaces, everything is in this one.
_WORKSPACE = "default"
_DELETED = "Deleted_Internal"
_PROMPT = "mlflow.prompt.is_prompt"


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns))


_schema = _table("alembic_version", "version_num")
_models = _table("registered_models", "workspace", "name")
_model_tags = _table("registered_model_tags", "workspace", "name", "key", "value")
_versions = _table(
    "model_versions",
    *("workspace", "name", "version", "run_id", "current_stage", "creation_time", "source", "storage_location"),
)
_version_tags = _table("model_version_tags", "workspace", "name", "version", "key", "value")
_aliases = _table("registered_model_aliases", "workspace", "name", "alias", "version")
_runs = _table("runs", "run_uuid", "name", "artifact_uri", "experiment_id")
_experiments = _table("experiments", "experiment_id", "name")
_metrics = _table("latest_metrics", "run_uuid", "key", "value", "is_nan")
_params = _table("params", "run_uuid", "key", "value")
_tags = _table("tags", "run_uuid", "key", "value")
_inputs = _table("inputs", "source_id", "destination_type", "destination_id")
_datasets = _table("datasets", "dataset_uuid", "name")


def has_known_schema(settings: Settings) -> bool:
    """Return whether the tracking URI is a database with a schema that this module reads.

    Raises
    ------
    RegistryError: the database cannot be reached.
    """
    try:
        url = sa.make_url(settings.tracking_uri)
    except sa.exc.ArgumentError:
        return False
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        return False
    with _reading(settings) as connection:
        if not sa.inspect(connection).has_table(_schema.name):
            return False
        revisions = set(connection.scalars(sa.select(_schema.c.version_num)))
    return bool(revisions) and revisions <= KNOWN_SCHEMAS  # none while MLflow makes its tables


class DatabaseReader:
    """A reader for a database whose schema is known."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def registered_models(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        is_prompt = sa.select(_model_tags.c.name).where(
            _model_tags.c.workspace == _WORKSPACE,
            _model_tags.c.key == _PROMPT,
            sa.func.lower(_model_tags.c.value) == "true",
        )
        models = sa.select(_models.c.name).where(_models.c.workspace == _WORKSPACE, _models.c.name.not_in(is_prompt))
        with _reading(self._settings) as connection:
            return sorted(connection.scalars(models))

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Return all versions of a model, lowest first; none where there is no such model."""
        return self._versions(model)

    def version(self, model: str, number: str) -> RegisteredVersion | None:
        """Return one version; None where it does not exist, or was deleted."""
        return next(iter(self._versions(model, int(number))), None) if _is_number(number) else None

    def location(self, model: str, number: str) -> str | None:
        """Return the URI of a version's artifacts; None where it does not exist, or was deleted."""
        if not _is_number(number):
            return None
        with _reading(self._settings) as connection:
            row = connection.execute(_of(model, int(number))).one_or_none()
        return None if row is None else str(row.storage_location or row.source)

    def aliased(self, model: str, alias: str) -> str | None:
        """Return the number of the version that has an alias; None without one."""
        named = sa.select(_aliases.c.version).where(
            _aliases.c.workspace == _WORKSPACE, _aliases.c.name == model, _aliases.c.alias == alias
        )
        with _reading(self._settings) as connection:
            number = connection.scalar(named)
        return None if number is None or self.version(model, str(number)) is None else str(number)

    def run(self, run_id: str) -> StoredRun | None:
        """Return a run, also a deleted one; None where it does not exist."""
        columns = (_runs.c.name, _runs.c.artifact_uri, _experiments.c.name.label("experiment"))
        joined = _runs.join(_experiments, _experiments.c.experiment_id == _runs.c.experiment_id)
        datasets = (
            sa.select(_datasets.c.name)
            .join(_inputs, _inputs.c.source_id == _datasets.c.dataset_uuid)
            .where(_inputs.c.destination_type == "RUN", _inputs.c.destination_id == run_id)
        )
        with _reading(self._settings) as connection:
            found = connection.execute(
                sa.select(*columns).select_from(joined).where(_runs.c.run_uuid == run_id)
            ).one_or_none()
            if found is None:
                return None
            tags = _pairs(connection, _tags, run_id)
            return StoredRun(
                run_id=run_id,
                name=found.name or tags.get("mlflow.runName") or run_id,
                experiment=found.experiment,
                artifact_uri=found.artifact_uri,
                metrics=_latest_metrics(connection, run_id),
                params=_pairs(connection, _params, run_id),
                tags=tags,
                datasets=tuple(connection.scalars(datasets)),
            )

    def _versions(self, model: str, number: int | None = None) -> list[RegisteredVersion]:
        """Return the versions of a model, or one of them; all stages are read in one statement."""
        rows = _of(model, number)
        tags = sa.select(_version_tags).where(_version_tags.c.workspace == _WORKSPACE, _version_tags.c.name == model)
        if number is not None:
            tags = tags.where(_version_tags.c.version == number)
        with _reading(self._settings) as connection:
            found = connection.execute(rows.order_by(_versions.c.version)).all()
            tags_of: dict[int, dict[str, str]] = {}
            for tag in connection.execute(tags) if found else ():
                tags_of.setdefault(tag.version, {})[tag.key] = tag.value
        return [_version(row, tags_of.get(row.version, {})) for row in found]


def _version(row: Any, tags: dict[str, str]) -> RegisteredVersion:
    return RegisteredVersion(
        name=row.name,
        version=str(row.version),
        run_id=row.run_id,
        current_stage=row.current_stage,
        creation_timestamp=row.creation_time,
        tags=tags,
    )


def _of(model: str, number: int | None) -> sa.Select[Any]:
    """Return the query for the versions of a model, or for one of them."""
    rows = sa.select(_versions).where(
        _versions.c.workspace == _WORKSPACE, _versions.c.name == model, _versions.c.current_stage != _DELETED
    )
    return rows if number is None else rows.where(_versions.c.version == number)


def _is_number(number: str) -> bool:
    text = str(number)  # an entity of MLflow that was just created has an integer
    return text.isascii() and text.isdigit() and len(text) < 10


def _pairs(connection: sa.Connection, table: sa.TableClause, run_id: str) -> dict[str, str]:
    found = connection.execute(sa.select(table.c.key, table.c.value).where(table.c.run_uuid == run_id))
    return {row.key: row.value for row in found}


def _latest_metrics(connection: sa.Connection, run_id: str) -> dict[str, float]:
    columns = (_metrics.c.key, _metrics.c.value, _metrics.c.is_nan)
    found: Iterable[Any] = connection.execute(sa.select(*columns).where(_metrics.c.run_uuid == run_id))
    return {key: math.nan if is_nan else value for key, value, is_nan in found}


@contextmanager
def _reading(settings: Settings) -> Iterator[sa.Connection]:
    try:
        with _engine(settings.tracking_uri).connect() as connection:
            yield connection
    except (SQLAlchemyError, ImportError) as error:
        raise RegistryError(f"MLflow at {settings.tracking_place}: {one_line(error)}") from None


@lru_cache(maxsize=8)
def _engine(uri: str) -> sa.Engine:
    if uri.startswith("sqlite"):
        return sa.create_engine(uri, poolclass=sa.pool.NullPool, connect_args={"timeout": _TIMEOUT})
    return sa.create_engine(uri, pool_pre_ping=True)
