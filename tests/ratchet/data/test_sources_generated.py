from __future__ import annotations

from typing import Any, Literal

import pytest

from ratchet.config import GeneratedDataset
from ratchet.data import dataset_version, open_source
from ratchet.errors import DataError

Name = Literal["fraud", "churn"]


def dataset(name: Name, **keys: Any) -> GeneratedDataset:
    return GeneratedDataset(source="generated", name=name, target="label", **keys)


@pytest.mark.parametrize(
    ("name", "version"),
    [("fraud", "8010c91506da9e681d9ac5e387fb6702"), ("churn", "b35506a888545a666ea35aeed3a14f19")],
)
def test_generated_rows_have_the_same_bytes_on_every_machine(name: Name, version: str) -> None:
    assert dataset_version(dataset(name)) == version


@pytest.mark.parametrize("name", ["fraud", "churn"])
def test_another_seed_gives_other_rows_with_the_same_columns(name: Name) -> None:
    one, other = (open_source(dataset(name, rows=500, seed=seed)).read() for seed in (1, 2))
    assert not one.equals(other)
    assert list(one.columns) == list(other.columns)
    assert len(one) == len(other) == 500


def test_a_target_may_not_have_the_name_of_a_feature() -> None:
    config = GeneratedDataset(source="generated", name="fraud", target="amount")
    with pytest.raises(DataError, match="'amount' is a feature of fraud"):
        dataset_version(config)
