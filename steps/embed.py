"""Training rows in, a fitted embedder and their embedded features out."""

from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import step

from ratchet.config import AnyEmbed
from ratchet.data import Schema
from ratchet.model import embedding
from ratchet.registry import warm_start
from ratchet.settings import load_settings
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import SkopsMaterializer


@step(cache_policy=WHEN_NOTHING_CHANGED, output_materializers={"embedder": SkopsMaterializer})
def embed(
    train_rows: pd.DataFrame, schema: Schema, config: AnyEmbed, seed: int, model_name: str, base_version: str | None
) -> tuple[Annotated[Pipeline, "embedder"], Annotated[pd.DataFrame, "features"]]:
    """Fit the embedder on the training rows alone, or take the one of the version that training goes on from."""
    base = warm_start.load_base(load_settings(), model_name, base_version, schema)
    embedder = base.model["embed"] if base else embedding.fit_embedder(config, schema, train_rows, seed)
    return embedder, embedding.embed(embedder, train_rows, schema)
