"""Fit the embedder."""

from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import step

from ratchet.config import AnyEmbed
from ratchet.data import Schema
from ratchet.model import embedding
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.registry import warm_start
from ratchet.settings import load_settings
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import SkopsMaterializer


@step(cache_policy=WHEN_NOTHING_CHANGED, output_materializers={"embedder": SkopsMaterializer})
def embed(
    train_rows: pd.DataFrame,
    batches: TrainingBatches | None,
    schema: Schema,
    config: AnyEmbed,
    seed: int,
    model_name: str,
    base_version: str | None,
) -> tuple[Annotated[Pipeline, "embedder"], Annotated[pd.DataFrame, "features"]]:
    """Fit the embedder on the training rows only, or take that of the base version; embed ``train_rows``."""
    base = warm_start.load_base(load_settings(), model_name, base_version, schema)
    rows = train_rows if batches is None else batches
    embedder = base.model["embed"] if base else embedding.fit_embedder(config, schema, rows, seed)
    return embedder, embedding.embed(embedder, train_rows, schema)
