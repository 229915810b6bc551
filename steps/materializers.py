"""How a fitted pipeline is kept as a ZenML artifact: with skops and our trust list, never as a pickle."""

from __future__ import annotations

from typing import Any, ClassVar

import skops.io
from sklearn.pipeline import Pipeline
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from ratchet.model.package.trusted_types import load_skops


class SkopsMaterializer(BaseMaterializer):
    """Reads and writes scikit-learn pipelines."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Pipeline,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def load(self, data_type: type[Any]) -> Pipeline:
        """Read the pipeline; a type that the trust list lacks is refused."""
        with self.artifact_store.open(self._path, "rb") as file:
            return load_skops(file.read())  # type: ignore[no-any-return]

    def save(self, data: Pipeline) -> None:
        """Write the pipeline."""
        with self.artifact_store.open(self._path, "wb") as file:
            file.write(skops.io.dumps(data))

    @property
    def _path(self) -> str:
        # The folder may be s3://…, which a Path would make one slash shorter.
        return f"{self.uri}/model.skops"
