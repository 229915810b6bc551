"""ZenML's stack: registered from Python, as often as one likes, in Ratchet's home or on the user's own server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from ratchet.errors import ConfigError
from ratchet.settings import Settings, prepare_home, without_password

STACK = "ratchet"
ROOT = Path(__file__).resolve().parent.parent


def use_embedded_store(settings: Settings) -> bool:
    """Point ZenML at a store in the home, unless the user has one; has to run before ``import zenml``.

    The user's own store is one named by ``ZENML_STORE_URL`` or ``ZENML_CONFIG_PATH``, or a server that they are
    logged in to.

    Returns
    -------
    Whether the embedded store is used.
    """
    embedded = str(settings.home.resolve() / "zenml")
    configured = os.environ.get("ZENML_CONFIG_PATH")
    if settings.zenml_store_url:
        # It may come from .env, which ZenML does not read.
        os.environ["ZENML_STORE_URL"] = settings.zenml_store_url
        return False
    os.environ.pop("ZENML_STORE_URL", None)  # set and empty, it says that .env's does not count
    if configured != embedded and (configured or _logged_in_to_a_server()):
        return False
    prepare_home(settings)
    os.environ["ZENML_CONFIG_PATH"] = embedded
    return True


def ensure_stack(settings: Settings, *, embedded: bool) -> str:
    """Make sure that the active stack can run our pipelines.

    Embedded, the stack ``ratchet`` is registered (local orchestrator and artifacts, MLflow as experiment tracker and
    model registry) and activated; on a server, the same with the stack that ``RATCHET_ZENML_STACK`` names. Without it,
    the user's active stack is used if it has a tracker, and is left as it is.

    Returns
    -------
    The stack's name.

    Raises
    ------
    ConfigError: the user's active stack has no MLflow experiment tracker.
    """
    from zenml.client import Client
    from zenml.utils import source_utils

    source_utils.set_custom_source_root(str(ROOT))
    client = Client()
    if not embedded and not settings.zenml_stack:
        tracker = client.active_stack.experiment_tracker
        if tracker is None or tracker.flavor != "mlflow":
            raise ConfigError(
                f"ZenML's active stack {client.active_stack.name!r} has no MLflow experiment tracker:"
                " register one and add it, or unset ZENML_STORE_URL to use the embedded stack"
            )
        uri = tracker.get_tracking_uri()
        if uri != settings.tracking_uri:
            raise ConfigError(
                f"ZenML's active stack {client.active_stack.name!r} tracks to {without_password(uri)}, Ratchet to"
                f" {settings.tracking_place}: set MLFLOW_TRACKING_URI to the stack's address"
            )
        return client.active_stack.name
    name = STACK if embedded else str(settings.zenml_stack)
    _register(client, settings, name)
    return name


def _register(client: Any, settings: Settings, name: str) -> None:
    from zenml.enums import StackComponentType as Type

    default = client.get_stack("default").components
    components = {
        Type.ORCHESTRATOR: default[Type.ORCHESTRATOR][0].id,
        Type.ARTIFACT_STORE: default[Type.ARTIFACT_STORE][0].id,
        Type.EXPERIMENT_TRACKER: _component(
            client, name, Type.EXPERIMENT_TRACKER, "mlflow", _tracker_configuration(settings)
        ).id,
        Type.MODEL_REGISTRY: _component(client, name, Type.MODEL_REGISTRY, "mlflow", {}).id,
    }
    if settings.zenml_artifacts:
        # Keys and endpoint come from AWS_* of each process, and are not written into ZenML's store.
        flavor = "s3" if settings.zenml_artifacts.startswith("s3://") else "local"
        components[Type.ARTIFACT_STORE] = _component(
            client, name, Type.ARTIFACT_STORE, flavor, {"path": settings.zenml_artifacts}
        ).id
    try:
        stack = client.get_stack(name, allow_name_prefix_match=False)
    except KeyError:
        stack = client.create_stack(name, components)
    if client.active_stack_model.id != stack.id:
        client.activate_stack(stack.id)


def _tracker_configuration(settings: Settings) -> dict[str, str]:
    """Where the tracker writes, with the credentials that ZenML insists on for a server, needed there or not."""
    configuration = {"tracking_uri": settings.tracking_uri}
    if settings.tracking_uri.startswith("http"):
        user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
        if user and password:
            return configuration | {"tracking_username": user, "tracking_password": password}
        configuration["tracking_token"] = os.environ.get("MLFLOW_TRACKING_TOKEN") or "none-needed"
    return configuration


def _component(client: Any, name: str, kind: Any, flavor: str, configuration: dict[str, Any]) -> Any:
    """The component of a kind, made or brought up to date."""
    try:
        found = client.get_stack_component(kind, name, allow_name_prefix_match=False)
    except KeyError:
        return client.create_stack_component(name=name, flavor=flavor, component_type=kind, configuration=configuration)
    stale = {key: value for key, value in configuration.items() if found.configuration.get(key) != value}
    return client.update_stack_component(name, kind, configuration=stale) if stale else found


def _logged_in_to_a_server() -> bool:
    """Whether ZenML's own global config names a server; read as a file, since asking ZenML would create its store."""
    import typer

    path = Path(typer.get_app_dir("zenml")) / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        return False
    store = config.get("store") if isinstance(config, dict) else None
    return isinstance(store, dict) and store.get("type") == "rest"
