"""A registered version as the pointer knows it, and who else shows which one is in Production."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ratchet.tracking import DIGEST_TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes
    ----------
    model, version: its name and number.
    run_id: the MLflow run that trained it.
    digest: the package's digest, as recorded at registration.
    stage: MLflow's stage.
    tags: the version's tags, its lineage among them.
    created_at: seconds since the epoch.
    """

    model: str
    version: str
    run_id: str
    digest: str
    stage: str
    tags: dict[str, str] = field(default_factory=dict)
    created_at: float = 0.0


class Mirror(Protocol):
    """Another system that shows what is in Production, such as ZenML's model stages."""

    name: str

    def read(self, model: str) -> str | None:
        """The version it shows, None for none."""
        ...

    def write(self, model: str, version: str) -> None:
        """Have it show a version."""
        ...


def from_mlflow(found: ModelVersion) -> Version:
    """MLflow's version as ours."""
    return Version(
        model=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        digest=found.tags.get(DIGEST_TAG, ""),
        stage=found.current_stage or "None",
        tags=dict(found.tags),
        created_at=(found.creation_timestamp or 0) / 1000,
    )


def ledger_fields(version: Version) -> dict[str, Any]:
    """What the ledger keeps of a version: its run, digest and data version."""
    data_version = version.tags.get("ratchet.data_version")
    return {"run_id": version.run_id, "digest": version.digest, "data_version": data_version}
