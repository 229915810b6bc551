"""What the trained baseline has to know about irises, whatever its metrics say.

Minimum functionality, invariance and direction, after Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP
Models with CheckList" (ACL 2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config.files import load_config
from tests.fitted import CONFIGS, baseline, fit

TYPICAL = {
    "setosa": {"sepal_length": 5.0, "sepal_width": 3.4, "petal_length": 1.5, "petal_width": 0.2},
    "versicolor": {"sepal_length": 5.9, "sepal_width": 2.8, "petal_length": 4.3, "petal_width": 1.3},
    "virginica": {"sepal_length": 6.6, "sepal_width": 3.0, "petal_length": 5.6, "petal_width": 2.1},
}


@pytest.fixture(scope="module", params=["baseline", "variation_svm", "variation_random_forest"])
def model(request: pytest.FixtureRequest) -> Any:
    return fit(load_config(CONFIGS / f"{request.param}.yaml")).model


@pytest.mark.parametrize("species", TYPICAL)
def test_a_typical_flower_is_recognised_with_confidence(model: Any, species: str) -> None:
    flower = pd.DataFrame([TYPICAL[species]])
    assert model.predict(flower).tolist() == [species]
    assert model.predict_proba(flower).max() > 0.7


def test_a_millimetre_does_not_change_a_typical_flower(model: Any) -> None:
    for species, values in TYPICAL.items():
        base = pd.DataFrame([values] * 8)
        base += np.vstack([np.eye(4), -np.eye(4)]) * 0.1
        assert set(model.predict(base)) == {species}


def test_longer_and_wider_petals_never_raise_the_probability_of_setosa(model: Any) -> None:
    steps = pd.DataFrame([TYPICAL["setosa"]] * 20)
    steps["petal_length"] = np.linspace(1.5, 6.0, 20)
    steps["petal_width"] = np.linspace(0.2, 2.2, 20)
    setosa = model.predict_proba(steps)[:, list(model.classes_).index("setosa")]
    assert (np.diff(setosa) <= 0.02).all()
    assert setosa[0] > 0.9
    assert setosa[-1] < 0.1


def test_a_prediction_does_not_depend_on_other_rows_or_their_order(model: Any) -> None:
    rows = pd.DataFrame(TYPICAL.values())
    together = model.predict_proba(rows)
    alone = np.vstack([model.predict_proba(rows.iloc[[i]]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(rows[::-1]), together[::-1], atol=1e-12)


def test_a_missing_value_still_gets_an_answer(model: Any) -> None:
    flower = pd.DataFrame([TYPICAL["setosa"]])
    flower.loc[0, "sepal_width"] = np.nan
    assert model.predict(flower).tolist() == ["setosa"]


def test_shuffled_labels_give_chance_accuracy() -> None:
    from sklearn.base import clone

    trained = baseline()
    scores = []
    for seed in range(20):
        target = trained.train["species"].sample(frac=1, random_state=seed).to_numpy()
        model = clone(trained.model).fit(trained.schema.select(trained.train), target)
        scores.append(model.score(trained.schema.select(trained.holdout), trained.holdout["species"]))
    assert abs(np.mean(scores) - 1 / 3) < 0.12
