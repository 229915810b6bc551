from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Embed
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError
from ratchet.model.embedding import embed, fit_embedder

NUMBERS = Schema(
    features=tuple(Field(name=name, type="number", nullable=False) for name in ("a", "b", "c")), target="y"
)
MIXED = Schema(
    features=(
        Field(name="a", type="number", nullable=True),
        Field(name="colour", type="category", nullable=True, categories=("blue", "red")),
    ),
    target="y",
)


def numbers(rows: int = 50) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(3, 2, (rows, 3)), columns=["a", "b", "c"])


def mixed() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.0, np.nan, 3.0, 5.0], "colour": ["red", "blue", None, "red"]}, dtype=object).astype(
        {"a": float}
    )


def test_features_are_named_after_their_component() -> None:
    embedder = fit_embedder(Embed(n_components=2), NUMBERS, numbers(), seed=1)
    features = embed(embedder, numbers(), NUMBERS)
    assert list(features.columns) == ["PCA_1", "PCA_2"]
    assert features.shape == (50, 2)


def test_without_a_number_all_components_are_kept() -> None:
    assert embed(fit_embedder(Embed(), NUMBERS, numbers(), seed=1), numbers(), NUMBERS).shape == (50, 3)


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust", "none"])
def test_every_scaler_fits(scaler: Any) -> None:
    embedder = fit_embedder(Embed(scaler=scaler, reducer="none"), NUMBERS, numbers(), seed=1)
    features = embed(embedder, numbers(), NUMBERS)
    assert list(features.columns) == ["FEATURE_1", "FEATURE_2", "FEATURE_3"]
    if scaler == "standard":
        np.testing.assert_allclose(features.mean(), 0, atol=1e-12)
        np.testing.assert_allclose(features.std(ddof=0), 1)
    if scaler == "none":
        np.testing.assert_array_equal(features.to_numpy(), numbers().to_numpy())


def test_categories_are_one_hot_and_a_gap_is_one_of_them() -> None:
    embedder = fit_embedder(Embed(reducer="none", scaler="none"), MIXED, mixed(), seed=1)
    features = embed(embedder, mixed(), MIXED)
    np.testing.assert_array_equal(features.to_numpy(), [[1, 0, 0, 1], [3, 0, 1, 0], [3, 1, 0, 0], [5, 0, 0, 1]])


def test_a_category_never_seen_is_no_category() -> None:
    embedder = fit_embedder(Embed(reducer="none", scaler="none"), MIXED, mixed(), seed=1)
    unseen = pd.DataFrame({"a": [2.0], "colour": ["green"]}).astype({"colour": object})
    np.testing.assert_array_equal(embed(embedder, unseen, MIXED).to_numpy(), [[2, 0, 0, 0]])


def test_more_components_than_the_data_allow_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_components: got 4, but 3 encoded features in 50 training rows allow at"):
        fit_embedder(Embed(n_components=4), NUMBERS, numbers(), seed=1)
    with pytest.raises(ConfigError, match="in 2 training rows allow at most 2"):
        fit_embedder(Embed(n_components=3), NUMBERS, numbers(2), seed=1)
