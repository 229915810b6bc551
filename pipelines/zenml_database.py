"""Reads of ZenML's embedded store with SQLAlchemy alone, since ``import zenml`` takes seconds of processor time.

The tests compare the answers with those of ZenML's client. A store of another release is read by the client.
"""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
import yaml

from ratchet.settings import Settings

# Releases of ZenML whose schema the tests have compared; ZenML names a migration after its release.
KNOWN_SCHEMAS = frozenset({"0.98.0"})
_STAGE = sa.text(
    "SELECT version.name FROM model_version AS version JOIN model ON model.id = version.model_id"
    " WHERE model.name = :model AND model.project_id = :project AND version.stage = 'production'"
)


def embedded_stage(settings: Settings, model: str) -> tuple[bool, str | None]:
    """Return whether ZenML's embedded store could be read, and MLflow's number of the version in production there."""
    folder = settings.home.resolve() / "zenml"
    if os.environ.get("ZENML_CONFIG_PATH") != str(folder) or settings.zenml_store_url:
        return False, None
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        url, project = sa.make_url(config["store"]["url"]), str(config["active_project_id"]).replace("-", "")
        if url.get_backend_name() != "sqlite" or not Path(str(url.database)).is_file():
            return False, None
        with sa.create_engine(url, poolclass=sa.pool.NullPool).connect() as connection:
            if connection.scalar(sa.text("SELECT version_num FROM alembic_version")) not in KNOWN_SCHEMAS:
                return False, None
            name = connection.scalar(_STAGE, {"model": model, "project": project})
    except (OSError, yaml.YAMLError, KeyError, TypeError, sa.exc.SQLAlchemyError):
        return False, None
    return True, None if name is None else str(name).removeprefix("v")
