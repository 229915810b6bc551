"""The training part of a file in batches in, a fitted embedder out."""

from typing import Annotated

from sklearn.pipeline import Pipeline
from zenml import step

from ratchet.config import Embed, ParquetDataset, Split, TaskName
from ratchet.data import Schema
from ratchet.data.batches import BatchedFile
from ratchet.model.batches import fit_embedder
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import SkopsMaterializer


@step(name="embed", cache_policy=WHEN_NOTHING_CHANGED, output_materializers={"embedder": SkopsMaterializer})
def embed_batches(
    schema: Schema,
    dataset: ParquetDataset,
    split: Split,
    config: Embed,
    task: TaskName,
    seed: int,
    data_version: str,
) -> Annotated[Pipeline, "embedder"]:
    """Fit the embedder on all rows of the training part."""
    file = BatchedFile(dataset, task, data_version)
    return fit_embedder(config, schema, file, split, seed)
