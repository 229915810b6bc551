"""The production pointer: the only code that touches a stage or an alias.

The stage ``Production`` is the truth, the alias ``champion`` mirrors it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from ratchet.errors import RegistryError
from ratchet.tracking import DIGEST_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PRODUCTION = "Production"
CHAMPION = "champion"


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes
    ----------
    model, version: its name and number.
    run_id: the MLflow run that trained it.
    digest: the package's digest, as recorded at registration.
    stage: MLflow's stage.
    """

    model: str
    version: str
    run_id: str
    digest: str
    stage: str
    tags: dict[str, str] = field(default_factory=dict)


class ProductionPointer:
    """Which version of a model is in Production, and the one way to change it.

    Parameters
    ----------
    client: the registry.
    model: the registered model's name.
    """

    def __init__(self, client: MlflowClient, model: str) -> None:
        self._client = client
        self._model = model

    def current(self) -> Version | None:
        """The version in Production, or None where nothing was promoted yet.

        Raises
        ------
        RegistryError: more than one version is in Production.
        """
        found = [v for v in self._versions() if v.current_stage == PRODUCTION]
        if len(found) > 1:
            numbers = ", ".join(sorted((str(v.version) for v in found), key=int))
            raise RegistryError(f"{self._model}: versions {numbers} are all in Production; exactly one may be")
        return _version(found[0]) if found else None

    def get(self, version: str) -> Version:
        """One version.

        Raises
        ------
        RegistryError: there is no such version of this model.
        """
        try:
            return _version(self._client.get_model_version(self._model, version))
        except MlflowException:
            known = ", ".join(str(v.version) for v in self._versions()) or "none"
            raise RegistryError(f"{self._model} has no version {version!r}; registered are: {known}") from None

    def promote(self, version: str, expected: str | None) -> Version:
        """Put a version into Production and take the one that was there out of it.

        Parameters
        ----------
        version: the version to promote.
        expected: the version the caller believes to be in Production, None for none.

        Raises
        ------
        RegistryError: another version than ``expected`` is in Production, or there is no such version.
        """
        current = self.current()
        found = current.version if current else None
        if found != expected:
            raise RegistryError(
                f"{self._model}: expected version {expected or 'none'} in Production, found {found or 'none'};"
                " somebody else promoted meanwhile"
            )
        self.get(version)
        with _stages_are_deprecated():
            # One transaction on MLflow's side: the new version goes in as the old one goes out.
            self._client.transition_model_version_stage(
                self._model, version, PRODUCTION, archive_existing_versions=True
            )
        self._client.set_registered_model_alias(self._model, CHAMPION, version)
        return self.get(version)

    def _versions(self) -> list[ModelVersion]:
        return list(self._client.search_model_versions(f"name = '{self._model}'", order_by=["version_number DESC"]))


@contextmanager
def _stages_are_deprecated() -> Iterator[None]:
    """MLflow warns at every use of a stage; the decision to use them stands in docs/decisions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="mlflow|ratchet")
        yield


def _version(found: ModelVersion) -> Version:
    return Version(
        model=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        digest=found.tags.get(DIGEST_TAG, ""),
        stage=found.current_stage or "None",
        tags=dict(found.tags),
    )
