"""Training rows in, a fitted embedder and their embedded features out."""

from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import step

from ratchet import embedding
from ratchet.config import Embed
from ratchet.datasets import Schema
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import SkopsMaterializer


@step(cache_policy=WHEN_NOTHING_CHANGED, output_materializers={"embedder": SkopsMaterializer})
def embed(
    train_rows: pd.DataFrame, schema: Schema, config: Embed, seed: int
) -> tuple[Annotated[Pipeline, "embedder"], Annotated[pd.DataFrame, "features"]]:
    """Fit the embedder on the training rows alone."""
    embedder = embedding.fit_embedder(config, schema, train_rows, seed)
    return embedder, embedding.embed(embedder, train_rows, schema)
