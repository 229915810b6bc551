"""The ZenML materializer of fitted pipelines: skops with our trust list, never a pickle."""

from __future__ import annotations

from typing import Any, ClassVar

import skops.io
from sklearn.pipeline import Pipeline
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from ratchet.model.package.trusted_types import load_skops


class SkopsMaterializer(BaseMaterializer):
    """Read and write scikit-learn pipelines."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Pipeline,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def load(self, data_type: type[Any]) -> Pipeline:
        """Read the pipeline, and refuse a type that the trust list lacks."""
        with self.artifact_store.open(self._path, "rb") as file:
            return load_skops(file.read())

    def save(self, data: Pipeline) -> None:
        """Write the pipeline."""
        with self.artifact_store.open(self._path, "wb") as file:
            file.write(skops.io.dumps(data))

    @property
    def _path(self) -> str:
        # A Path would remove a slash from s3://….
        return f"{self.uri}/model.skops"
