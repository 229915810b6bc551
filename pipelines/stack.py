"""ZenML's stack, registered in Ratchet's home or on the user's own ZenML server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from pipelines.zenml_survey import answer_survey
from ratchet.errors import ConfigError
from ratchet.settings import Settings, prepare_home, without_password

STACK = "ratchet"
ROOT = Path(__file__).resolve().parent.parent


def use_embedded_store(settings: Settings) -> bool:
    """Point ZenML at a store in the home, unless the user has one; call it before ``import zenml``.

    The user has a store if ``ZENML_STORE_URL`` or ``ZENML_CONFIG_PATH`` is set, or ZenML is logged in to a server.

    Returns
    -------
    Whether the embedded store is used.
    """
    if settings.zenml_store_url:
        os.environ["ZENML_STORE_URL"] = settings.zenml_store_url  # ZenML does not read .env
        return False
    os.environ.pop("ZENML_STORE_URL", None)  # an empty value overrides that of .env
    if _own_configuration(settings):
        return False
    prepare_home(settings)
    os.environ["ZENML_CONFIG_PATH"] = str(_embedded_configuration(settings))
    return True


def configuration_folder(settings: Settings) -> Path:
    """Return the folder of the ZenML configuration that runs use: the user's, or the one in the home."""
    return _own_configuration(settings) or _embedded_configuration(settings)


def server_url(settings: Settings) -> str | None:
    """Return the address of the user's ZenML server; None where the store is a file or a database.

    A local server that the configuration in the home is connected to is not the user's: its store is in the home.
    """
    own = _own_configuration(settings)
    url = settings.zenml_store_url or (_connected_server(own) if own else None)
    return url if url and url.startswith("http") else None


def ensure_stack(settings: Settings, *, embedded: bool) -> str:
    """Register and activate the stack that the pipelines run on, and return its name.

    The embedded store gets the stack ``ratchet`` (local orchestrator and artifacts, MLflow as experiment tracker and
    model registry). A server gets the same stack under the name ``RATCHET_ZENML_STACK``. Without that setting the
    user's active stack is used and not changed.

    Raises
    ------
    ConfigError: the user's active stack has no MLflow experiment tracker, or one at another address.
    """
    from zenml.client import Client
    from zenml.utils import source_utils

    source_utils.set_custom_source_root(str(ROOT))
    client = Client()
    if embedded or settings.zenml_stack:
        name = STACK if embedded else str(settings.zenml_stack)
        _register(client, settings, name)
        if embedded:
            answer_survey(client.zen_store, client.active_user.name)
        return name
    active = client.active_stack
    tracker: Any = active.experiment_tracker
    if tracker is None or tracker.flavor != "mlflow":
        raise ConfigError(
            f"ZenML's active stack {active.name!r} has no MLflow experiment tracker:"
            " register one and add it, or unset ZENML_STORE_URL to use the embedded stack"
        )
    uri = tracker.get_tracking_uri()
    if uri != settings.tracking_uri:
        raise ConfigError(
            f"ZenML's active stack {active.name!r} tracks to {without_password(uri)}, Ratchet to"
            f" {settings.tracking_place}: set MLFLOW_TRACKING_URI to the stack's address"
        )
    return active.name


def _register(client: Any, settings: Settings, name: str) -> None:
    from zenml.enums import StackComponentType as Type

    default = client.get_stack("default", allow_name_prefix_match=False).components
    tracker = _component(client, name, Type.EXPERIMENT_TRACKER, "mlflow", _tracker_configuration(settings))
    components = {
        Type.ORCHESTRATOR: default[Type.ORCHESTRATOR][0].id,
        Type.ARTIFACT_STORE: default[Type.ARTIFACT_STORE][0].id,
        Type.EXPERIMENT_TRACKER: tracker.id,
        Type.MODEL_REGISTRY: _component(client, name, Type.MODEL_REGISTRY, "mlflow", {}).id,
    }
    if settings.zenml_artifacts:
        # Each process takes keys and endpoint from AWS_*; they are not written to ZenML's store.
        flavor = "s3" if settings.zenml_artifacts.startswith("s3://") else "local"
        configuration = {"path": settings.zenml_artifacts}
        components[Type.ARTIFACT_STORE] = _component(client, name, Type.ARTIFACT_STORE, flavor, configuration).id
    try:
        stack = client.get_stack(name, allow_name_prefix_match=False)
    except KeyError:
        stack = client.create_stack(name, components)
    if client.active_stack_model.id != stack.id:
        client.activate_stack(stack.id)


def _tracker_configuration(settings: Settings) -> dict[str, str]:
    """Return the tracker's address, with credentials for a server, which ZenML requires even if the server has none."""
    configuration = {"tracking_uri": settings.tracking_uri}
    if settings.tracking_uri.startswith("http"):
        user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
        if user and password:
            return configuration | {"tracking_username": user, "tracking_password": password}
        configuration["tracking_token"] = os.environ.get("MLFLOW_TRACKING_TOKEN") or "none-needed"
    return configuration


def _component(client: Any, name: str, kind: Any, flavor: str, configuration: dict[str, Any]) -> Any:
    """Create a component of the stack, or update its configuration."""
    try:
        found = client.get_stack_component(kind, name, allow_name_prefix_match=False)
    except KeyError:
        return client.create_stack_component(name=name, flavor=flavor, component_type=kind, configuration=configuration)
    stale = {key: value for key, value in configuration.items() if found.configuration.get(key) != value}
    return client.update_stack_component(name, kind, configuration=stale) if stale else found


def _embedded_configuration(settings: Settings) -> Path:
    return settings.home.resolve() / "zenml"


def _own_configuration(settings: Settings) -> Path | None:
    """Return the folder of ZenML's configuration if the user has one; None if the one in the home is used."""
    import typer

    configured = os.environ.get("ZENML_CONFIG_PATH")
    if configured:
        return None if Path(configured).resolve() == _embedded_configuration(settings) else Path(configured)
    default = Path(typer.get_app_dir("zenml"))
    return default if _connected_server(default) else None


def _connected_server(folder: Path) -> str | None:
    """Return the server that a ZenML configuration names; read as a file, since ZenML's client creates its store."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, yaml.YAMLError):
        return None
    store = config.get("store") if isinstance(config, dict) else None
    return str(store.get("url")) if isinstance(store, dict) and store.get("type") == "rest" else None
