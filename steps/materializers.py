"""The ZenML materializers of fitted pipelines (skops with our trust list, never a pickle) and of row identities."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import skops.io
from sklearn.pipeline import Pipeline
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

from ratchet.data.row_identities import RowIdentities
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


class RowIdentitiesMaterializer(BaseMaterializer):
    """Read and write the identities of rows."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (RowIdentities,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> RowIdentities:
        """Read the identities."""
        with self.artifact_store.open(f"{self.uri}/rows.npy", "rb") as file:
            ids, contents = np.load(file, allow_pickle=False)
        with self.artifact_store.open(f"{self.uri}/source.json", "r") as file:
            return RowIdentities(ids=ids, contents=contents, **json.load(file))

    def save(self, data: RowIdentities) -> None:
        """Write the identities."""
        with self.artifact_store.open(f"{self.uri}/rows.npy", "wb") as file:
            np.save(file, np.stack([data.ids, data.contents]))
        with self.artifact_store.open(f"{self.uri}/source.json", "w") as file:
            json.dump({"source": data.source, "n_data": data.n_data}, file)


# Of the steps that read rows.
IDENTITIES = {"train_identities": RowIdentitiesMaterializer, "holdout_identities": RowIdentitiesMaterializer}
