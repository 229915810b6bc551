"""The production pointer with ZenML's mirror, for the commands that people type."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pipelines.progress import hush
from pipelines.stack import use_embedded_store
from ratchet.registry.fetch_package import production_pointer
from ratchet.registry.model_version import Mirror
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import choose_model


def open_pointer(settings: Settings, model: str | None, *, mirrored: bool = True) -> ProductionPointer:
    """The pointer of a model, which need not be named where there is only one.

    Parameters
    ----------
    settings: where things are.
    model: the registered model's name, or None.
    mirrored: whether ZenML has to be told of changes; reading alone does without.

    Raises
    ------
    ConfigError: there is no such model, or several and none is named.
    RegistryError: MLflow cannot be reached.
    """
    return production_pointer(settings, choose_model(settings, model), _mirrors(settings) if mirrored else ())


class LateZenMLStage:
    """ZenML's stage, for a process that may end without needing it: ZenML is imported at the first look."""

    name = "ZenML"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, model: str) -> str | None:
        """The version that ZenML shows in production."""
        return self._stage.read(model)

    def write(self, model: str, version: str) -> None:
        """Have ZenML show a version in production."""
        self._stage.write(model, version)

    @cached_property
    def _stage(self) -> Mirror:
        use_embedded_store(self._settings)
        hush()
        from steps.model_control_plane import ZenMLStage

        return ZenMLStage()


def _mirrors(settings: Settings) -> list[Mirror]:
    """ZenML, unless it is embedded and no pipeline ever ran: then there is nothing to mirror into."""
    if use_embedded_store(settings) and not Path(settings.home, "zenml").is_dir():
        return []
    return [LateZenMLStage(settings)]
