"""The production pointer of the command line, with ZenML's stage as its mirror."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pipelines.progress import silence_libraries
from pipelines.stack import use_embedded_store
from pipelines.zenml_database import embedded_stage
from ratchet.registry.fetch_package import production_pointer
from ratchet.registry.model_version import Mirror
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import choose_model


def open_pointer(settings: Settings, model: str | None, *, mirrored: bool = True) -> ProductionPointer:
    """Open the production pointer of a model.

    Parameters
    ----------
    settings: of this process.
    model: the registered model's name; None takes the only one.
    mirrored: whether changes are written to ZenML too; a reader does not need it.

    Raises
    ------
    ConfigError: there is no such model, or several and none is named.
    RegistryError: MLflow cannot be reached.
    """
    return production_pointer(settings, choose_model(settings, model), _mirrors(settings) if mirrored else ())


class LazyZenMLStage:
    """ZenML's stage, which imports ZenML at its first use, since most commands do not need it."""

    name = "ZenML"

    def __init__(self, settings: Settings, *, of_one_home: bool) -> None:
        self._settings, self.of_one_home = settings, of_one_home

    def read(self, model: str) -> str | None:
        """Return the version that ZenML has in production, from its embedded store without its import."""
        known, version = embedded_stage(self._settings, model)
        return version if known else self._stage.read(model)

    def write(self, model: str, version: str) -> None:
        """Set the version that ZenML has in production."""
        self._stage.write(model, version)

    @cached_property
    def _stage(self) -> Mirror:
        use_embedded_store(self._settings)
        silence_libraries()
        from steps.model_control_plane import ZenMLStage

        return ZenMLStage(self._settings)


def _mirrors(settings: Settings) -> list[Mirror]:
    """Return ZenML's stage, unless ZenML is embedded and has run no pipeline."""
    is_embedded = use_embedded_store(settings)
    if is_embedded and not Path(settings.home, "zenml").is_dir():
        return []
    return [LazyZenMLStage(settings, of_one_home=is_embedded and bool(settings.database_url))]
