"""ZenML's server with its dashboard: ``uvicorn --factory pipelines.zenml_server:create``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipelines.stack import configuration_folder
from pipelines.zenml_survey import answer_survey
from ratchet.errors import StateError
from ratchet.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI


def create() -> FastAPI:
    """Return ZenML's own application after the dashboard's survey is answered for the store's default user.

    ``ZENML_SERVER`` has to be set, as for every ZenML server.
    """
    from zenml.config.global_config import GlobalConfiguration
    from zenml.constants import DEFAULT_USERNAME, ENV_ZENML_DEFAULT_USER_NAME

    answer_survey(GlobalConfiguration().zen_store, os.environ.get(ENV_ZENML_DEFAULT_USER_NAME) or DEFAULT_USERNAME)
    from zenml.zen_server.zen_server_api import app

    return app


def local_environment(settings: Settings) -> dict[str, str]:
    """Return the variables with which ``create`` serves the store of the runs to this machine, without a login.

    They are those of ``zenml login --local``.

    Raises
    ------
    StateError: there is no store yet.
    """
    folder = configuration_folder(settings)
    stores = folder / "local_stores"
    if not settings.zenml_store_url and not (stores / "default_zen_store" / "zenml.db").exists():
        raise StateError(
            f"there is no pipeline run in {folder} yet: train with python run.py --config baseline.yaml, or set"
            " RATCHET_HOME"
        )
    own_store = {"ZENML_STORE_URL": settings.zenml_store_url} if settings.zenml_store_url else {}
    return own_store | {
        "ZENML_SERVER": "true",
        "ZENML_SERVER_ALLOW_LOCAL_FILE_ACCESS": "true",
        "ZENML_SERVER_AUTH_SCHEME": "NO_AUTH",
        "ZENML_SERVER_AUTO_ACTIVATE": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "local",
        # The client's own configuration may name a server, which a server refuses; this folder does not exist.
        "ZENML_CONFIG_PATH": str(folder / "server"),
        "ZENML_LOCAL_STORES_PATH": str(stores),
        "ZENML_LOGGING_VERBOSITY": "WARN",
    }
