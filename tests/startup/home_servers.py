"""A home's databases and its place in the bucket, on the servers that the tests started.

What a user says by ``MLFLOW_TRACKING_URI``, ``RATCHET_DATABASE_URL``, ``RATCHET_STUDY_URL`` and
``RATCHET_ARTIFACT_ROOT`` is said for every home that a test makes, in this process and in those that it starts,
wherever the test says nothing else. It stands alone: processes that run another checkout's code use it too.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

# Where the servers are; named unlike the project's own variables, which tests take away.
SERVER = "TEST_SERVICES_POSTGRES"
BUCKET = "TEST_SERVICES_BUCKET"
# The databases of a home, and what each is copied from: MLflow's migrations alone would take many seconds a home.
TEMPLATES = {"mlflow": "template_mlflow", "ratchet": "template_ratchet", "studies": "template1"}


def use_servers(settings: Any) -> None:
    """Give a class of settings a source of its own, which everything else that names a store comes before.

    Parameters
    ----------
    settings: the class ``ratchet.settings.Settings``.
    """
    from pydantic_settings import PydanticBaseSettingsSource

    class Servers(PydanticBaseSettingsSource):
        def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
            return None, field_name, False

        def __call__(self) -> dict[str, Any]:
            said = self.current_state
            uri = said.get("mlflow_uri") or said.get("MLFLOW_TRACKING_URI")
            taken = {name for name, value in said.items() if value is not None} | ({"mlflow_uri"} if uri else set())
            if str(uri).startswith("http"):  # artifacts are the server's own business then
                taken.add("artifact_root")
            found = servers_of(Path(said.get("home") or ".ratchet").resolve())
            return {name: value for name, value in found.items() if name not in taken}

    def sources(cls: Any, settings_cls: Any, init_settings: Any, env_settings: Any, **more: Any) -> tuple[Any, ...]:
        return (init_settings, env_settings, *more.values(), Servers(settings_cls))

    settings.settings_customise_sources = classmethod(sources)


@cache
def servers_of(home: Path) -> dict[str, str]:
    """The settings of a home; its databases are made when it is first asked for."""
    name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    databases = {kind: _database(f"{kind}_{name}", template) for kind, template in TEMPLATES.items()}
    return {
        "mlflow_uri": databases["mlflow"],
        "database_url": databases["ratchet"],
        "study_url": databases["studies"],
        "artifact_root": f"s3://{os.environ[BUCKET]}/{name}",
    }


def _database(name: str, template: str) -> str:
    import psycopg2

    server = os.environ[SERVER]
    connection = psycopg2.connect(server)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                # Another process of this home may be first.
                with suppress(psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
                    cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        connection.close()
    return server.rsplit("/", 1)[0] + "/" + name
