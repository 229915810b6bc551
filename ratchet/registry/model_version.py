"""A registered version, and the protocol of other systems that show which version is in Production."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ratchet.tracking import DIGEST_TAG
from ratchet.tracking.lineage import lineage_tags

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from ratchet.tracking.reader import RegisteredVersion


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes
    ----------
    run_id: the MLflow run that trained it.
    digest: the package's digest, as recorded at registration.
    tags: the version's tags, with a part of its lineage; ``whole_lineage`` reads all of it.
    created_at: seconds since the epoch.
    """

    model: str
    version: str
    run_id: str
    digest: str
    stage: str
    tags: dict[str, str] = field(default_factory=dict)
    created_at: float = 0.0

    @property
    def lineage(self) -> dict[str, str]:
        """The part of the lineage that is in the tags, without their prefix."""
        return lineage_tags(self.tags)


class Mirror(Protocol):
    """Another system that shows which version is in Production, such as ZenML's model stages."""

    name: str
    # Whether it is in a home that shares its store with others: their promotions do not change it.
    of_one_home: bool

    def read(self, model: str) -> str | None:
        """Return the version that the system shows, or None."""
        ...

    def write(self, model: str, version: str) -> None:
        """Make the system show a version."""
        ...


def from_mlflow(found: ModelVersion | RegisteredVersion) -> Version:
    """Convert MLflow's entity, or the one that a reader returns."""
    return Version(
        model=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        digest=found.tags.get(DIGEST_TAG, ""),
        stage=found.current_stage or "None",
        tags=dict(found.tags),
        created_at=(found.creation_timestamp or 0) / 1000,
    )
