"""The stream of a simulation: what each kind of drift does, when labels come, and how wrong they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config.files import load_config, parse_config
from ratchet.config.simulation import SimulationConfig
from ratchet.data import load_dataset
from ratchet.errors import ConfigError
from ratchet.monitoring.drift.domain_classifier import separate
from simulation.run import load_simulation
from simulation.stream import Example, Stream
from tests.fitted import CONFIGS, baseline

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
NEVER_LATE = {"delay": 0}
# Flowers are measured in steps of 0.1.
HALF_A_STEP = 0.05 + 1e-9


def config(**sections: Any) -> SimulationConfig:
    given: dict[str, Any] = {
        "pipeline": "simulation",
        "model": "iris",
        "dataset": {"source": "sklearn", "name": "iris", "target": "species"},
        "stream": {"rows": 1000, "jitter": 0.0},
        **sections,
    }
    return parse_config(given)


def stream(**sections: Any) -> Stream:
    loaded = config(**sections)
    return Stream(loaded, load_dataset(loaded.dataset, loaded.task))


def drifted(*drift: dict[str, Any], **sections: Any) -> Stream:
    return stream(drift=list(drift), **sections)


def numbers(examples: list[Example]) -> Any:
    return np.array([[example.record[name] for name in FEATURES] for example in examples], dtype=float)


@pytest.fixture(scope="module")
def flowers() -> pd.DataFrame:
    loaded = config()
    return load_dataset(loaded.dataset, loaded.task).frame


@pytest.fixture
def plans(tmp_path: Path) -> dict[str, Any]:
    """A data set with a category, a number, and gaps in both."""
    rows = pd.DataFrame(
        {"age": [20.5, None, 40.5, 50.5], "plan": ["basic", "plus", None, "plus"], "left": list("nyny")}
    )
    rows.to_csv(tmp_path / "plans.csv", index=False)
    return {"dataset": {"source": "csv", "path": str(tmp_path / "plans.csv"), "target": "left"}}


def test_the_same_config_gives_the_same_stream() -> None:
    drift = {"kind": "rotation", "at": 5, "angle": 30, "ramp": 10}
    some = {"stream": {"rows": 50, "jitter": 0.3}, "labels": {"share": 0.5, "noise": 0.3}}
    assert list(drifted(drift, **some)) == list(drifted(drift, **some))


def test_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    assert list(stream(stream={"rows": 40})) == list(stream(stream={"rows": 400}))[:40]


def test_another_seed_gives_another_stream() -> None:
    assert list(stream(seed=1, stream={"rows": 10})) != list(stream(seed=2, stream={"rows": 10}))


def test_without_jitter_the_rows_are_those_of_the_data_set_with_their_targets(flowers: pd.DataFrame) -> None:
    known = {(*row[:4], row[4]) for row in flowers[[*FEATURES, "species"]].itertuples(index=False, name=None)}
    assert {(*example.record.values(), example.truth) for example in stream()} <= known


def test_with_jitter_few_rows_are_copies_and_the_spread_is_that_of_the_config(flowers: pd.DataFrame) -> None:
    known = {tuple(row) for row in flowers[FEATURES].to_numpy().tolist()}
    quiet, noisy = list(stream()), list(stream(stream={"rows": 1000, "jitter": 0.5}))
    assert np.mean([tuple(example.record.values()) in known for example in noisy]) < 0.02
    noise = (numbers(noisy) - numbers(quiet)) / flowers[FEATURES].std(ddof=0).to_numpy()
    assert noise.std(axis=0) == pytest.approx([0.5] * 4, abs=0.06)


def test_numbers_have_as_many_decimals_as_in_the_data_set(plans: dict[str, Any]) -> None:
    assert all(round(number, 1) == number for number in numbers(list(stream(stream={"rows": 100}))).flat)
    ages = [example.record["age"] for example in stream(stream={"rows": 100, "jitter": 0.2}, **plans)]
    assert all(age is None or (isinstance(age, float) and round(age, 1) == age) for age in ages)


def test_before_a_drift_a_classifier_cannot_distinguish_the_rows_from_the_data_set(flowers: pd.DataFrame) -> None:
    loaded = load_config(CONFIGS / "simulate.yaml")
    undrifted = list(Stream(loaded, load_dataset(loaded.dataset, loaded.task)))[:300]
    verdict = separate(flowers[FEATURES], pd.DataFrame([example.record for example in undrifted]))
    assert verdict.auc < 0.6


def test_the_classes_have_the_shares_of_the_data_set() -> None:
    shares = pd.Series([example.truth for example in stream()]).value_counts(normalize=True)
    assert shares.to_list() == pytest.approx([1 / 3] * 3, abs=0.05)


def test_a_mean_shift_changes_its_columns_from_its_row_on_and_nothing_else(flowers: pd.DataFrame) -> None:
    shift = {"kind": "mean_shift", "at": 400, "columns": {"sepal_length": -2.0, "petal_width": 1.5}}
    moved = numbers(list(drifted(shift))) - numbers(list(stream()))
    spread = flowers[FEATURES].std(ddof=0).to_numpy()
    assert np.abs(moved[:400]).max() == 0
    assert np.abs(moved[400:] - [-2.0, 0, 0, 1.5] * spread).max() <= HALF_A_STEP


def test_a_ramp_increases_a_drift_linearly_and_then_it_is_constant(flowers: pd.DataFrame) -> None:
    shift = {"kind": "mean_shift", "at": 10, "ramp": 4, "columns": {"sepal_length": 4.0}}
    moved = numbers(list(drifted(shift)))[:, 0] - numbers(list(stream()))[:, 0]
    steps = np.array([0, 1, 2, 3, 4, 4, 4]) * flowers["sepal_length"].std(ddof=0)
    assert moved[9:16] == pytest.approx(steps, abs=HALF_A_STEP)


def test_a_rotation_rotates_a_pair_of_columns_and_keeps_the_distance_from_the_mean(flowers: pd.DataFrame) -> None:
    turn = {"kind": "rotation", "at": 0, "angle": 90, "columns": ["sepal_length", "petal_width"]}
    mean, spread = flowers[FEATURES].mean().to_numpy(), flowers[FEATURES].std(ddof=0).to_numpy()
    plain, turned = ((numbers(list(one)) - mean) / spread for one in (stream(), drifted(turn)))
    assert np.allclose(turned[:, 0], -plain[:, 3], atol=HALF_A_STEP / spread[0])
    assert np.allclose(turned[:, 3], plain[:, 0], atol=HALF_A_STEP / spread[3])
    assert np.array_equal(turned[:, 1:3], plain[:, 1:3])


def test_a_rotation_without_columns_rotates_all_numbers_in_pairs() -> None:
    turned = numbers(list(drifted({"kind": "rotation", "at": 0, "angle": 45})))
    assert (np.abs(turned - numbers(list(stream()))).max(axis=0) > 0.1).all()


def test_a_new_category_has_its_share_and_is_only_in_its_column(plans: dict[str, Any]) -> None:
    new = {"kind": "new_category", "at": 500, "column": "plan", "category": "pro", "share": 0.3}
    plain, changed = list(stream(**plans)), list(drifted(new, **plans))
    assert changed[:500] == plain[:500]
    assert np.mean([example.record["plan"] == "pro" for example in changed[500:]]) == pytest.approx(0.3, abs=0.06)
    assert [example.record["age"] for example in changed] == [example.record["age"] for example in plain]


def test_a_missing_value_is_sent_as_none_under_any_drift(plans: dict[str, Any]) -> None:
    shift = {"kind": "mean_shift", "at": 0, "columns": {"age": 3}}
    records = [example.record for example in drifted(shift, stream={"rows": 100, "jitter": 0.5}, **plans)]
    assert {record["plan"] for record in records} == {"basic", "plus", None}
    assert any(record["age"] is None for record in records)
    assert all(record["age"] is None or isinstance(record["age"], float) for record in records)


def test_class_priors_change_the_shares_of_the_classes() -> None:
    prior = {"kind": "class_prior", "at": 500, "priors": {"setosa": 0.9, "virginica": 0.1}}
    truths = [example.truth for example in drifted(prior)]
    assert truths[:500] == [example.truth for example in stream()][:500]
    shares = pd.Series(truths[500:]).value_counts(normalize=True)
    assert set(shares.index) == {"setosa", "virginica"}
    assert shares["setosa"] == pytest.approx(0.9, abs=0.05)


def test_several_drifts_add_up(flowers: pd.DataFrame) -> None:
    one = {"kind": "mean_shift", "at": 0, "columns": {"sepal_length": 1}}
    both = numbers(list(drifted(one, {**one, "at": 50})))[:, 0] - numbers(list(drifted(one)))[:, 0]
    assert both[:50].max() == 0
    assert both[50:] == pytest.approx([flowers["sepal_length"].std(ddof=0)] * 950, abs=2 * HALF_A_STEP)


def test_a_label_is_never_sent_before_its_prediction_and_after_the_delay_on_average() -> None:
    delays = [e.label_after - e.index for e in stream(labels={"delay": 20}) if e.label_after is not None]
    assert min(delays) >= 0
    assert np.mean(delays) == pytest.approx(20, abs=1)
    assert len(set(delays)) > 10


def test_without_a_delay_a_label_is_sent_after_its_own_row() -> None:
    assert all(example.label_after == example.index for example in stream(labels=NEVER_LATE))


def test_the_share_is_that_of_labelled_rows() -> None:
    examples = list(stream(labels={"share": 0.7}))
    assert np.mean([example.label is not None for example in examples]) == pytest.approx(0.7, abs=0.05)
    assert all((example.label is None) == (example.label_after is None) for example in examples)


def test_without_noise_every_label_is_the_truth() -> None:
    assert all(example.label == example.truth for example in stream())


def test_noise_is_the_share_of_labels_that_name_another_class() -> None:
    wrong = [example for example in stream(labels={"noise": 0.4}) if example.label != example.truth]
    assert len(wrong) / 1000 == pytest.approx(0.4, abs=0.05)
    assert {example.label for example in wrong} == {"setosa", "versicolor", "virginica"}


def test_a_flip_changes_every_label_of_one_class_and_no_other() -> None:
    for example in stream(labels={"flip": {"versicolor": "virginica"}}):
        assert example.label == ("virginica" if example.truth == "versicolor" else example.truth)


def test_noise_does_not_change_rows_delays_and_the_choice_of_labelled_rows() -> None:
    plain, noisy = stream(labels={"share": 0.5}), stream(labels={"share": 0.5, "noise": 0.4})
    for one, other in zip(plain, noisy, strict=True):
        assert (one.record, one.truth, one.label_after) == (other.record, other.truth, other.label_after)


def test_classes_that_are_numbers_keep_their_type() -> None:
    digits = {"source": "sklearn", "name": "digits", "target": "digit"}
    examples = list(stream(dataset=digits, stream={"rows": 50}, labels={"flip": {1: 7}, **NEVER_LATE}))
    assert {type(example.label) for example in examples} == {int}
    assert all(example.label == 7 for example in examples if example.truth == 1)


def test_a_regression_has_targets_that_are_numbers() -> None:
    diabetes = {"source": "sklearn", "name": "diabetes", "target": "progression"}
    examples = list(stream(task="regression", dataset=diabetes, stream={"rows": 50}, labels={"noise": 0.5}))
    assert all(isinstance(example.truth, float) for example in examples)
    assert any(example.label != example.truth for example in examples)


def test_a_constant_column_has_no_jitter(tmp_path: Path) -> None:
    (tmp_path / "same.csv").write_text("a,b,c\n1,5,x\n2,5,y\n3,5,x\n")
    same = {"source": "csv", "path": str(tmp_path / "same.csv"), "target": "c"}
    assert {example.record["b"] for example in stream(dataset=same, stream={"rows": 20, "jitter": 1.0})} == {5.0}


WRONG_DRIFT = {
    "no such kind": ({"kind": "earthquake", "at": 1}, "does not match any of the expected tags"),
    "after the end": ({"kind": "rotation", "at": 1000, "angle": 9}, "rotation begins at row 1000, but the stream ends"),
    "no such column": ({"kind": "mean_shift", "at": 1, "columns": {"sepal": 1}}, "no feature 'sepal'"),
    "no shift": (
        {"kind": "mean_shift", "at": 1, "columns": {"sepal_length": 0}},
        "expected a finite number other than 0",
    ),
    "half a pair": ({"kind": "rotation", "at": 1, "angle": 9, "columns": ["sepal_length"]}, "expected pairs"),
    "the target": ({"kind": "mean_shift", "at": 1, "columns": {"species": 1}}, "no feature 'species'"),
    "a number": ({"kind": "new_category", "at": 1, "column": "sepal_length", "category": "x"}, "holds numbers"),
    "no such class": ({"kind": "class_prior", "at": 1, "priors": {"satosa": 1}}, "did you mean 'setosa'?"),
    "not all": ({"kind": "class_prior", "at": 1, "priors": {"setosa": 0.5}}, "add up to 0.5, expected 1"),
    "unknown key": ({"kind": "rotation", "at": 1, "angle": 9, "speed": 1}, "unknown key"),
}


@pytest.mark.parametrize("fault", WRONG_DRIFT)
def test_an_invalid_drift_is_one_line(fault: str) -> None:
    drift, message = WRONG_DRIFT[fault]
    with pytest.raises(ConfigError) as caught:
        drifted(drift)
    assert "drift.0" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        ({"kind": "new_category", "at": 1, "column": "plan", "category": "plus"}, "'plus' is not new"),
        ({"kind": "mean_shift", "at": 1, "columns": {"plan": 1}}, "holds categories, and only numbers can move"),
        ({"kind": "rotation", "at": 1, "angle": 9}, "needs two numeric columns, the data set has 1"),
    ],
)
def test_a_drift_that_does_not_fit_the_columns_is_refused(
    plans: dict[str, Any], drift: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        drifted(drift, **plans)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"labels": {"flip": {"versicolor": "rose"}}}, "labels.flip: the data set has no class 'rose'"),
        ({"labels": {"noise": 2}}, "labels.noise: got 2"),
        ({"stream": {"rows": 0}}, "stream.rows: got 0"),
        ({"stream": {}}, "'stream.rows' is missing"),
        ({"task": "regression", "labels": {"flip": {"a": "b"}}}, "a regression has no classes"),
        (
            {"task": "regression", "drift": [{"kind": "class_prior", "at": 1, "priors": {"a": 1}}]},
            "a regression has no classes",
        ),
    ],
)
def test_an_invalid_section_is_refused_with_its_key(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stream(**sections)
    assert message in str(caught.value)


def test_a_config_of_another_pipeline_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pipeline: got 'training', expected 'simulation'"):
        load_simulation(CONFIGS / "baseline.yaml")


def test_the_bundled_simulation_lowers_the_baseline_and_can_be_learned() -> None:
    iris = baseline()
    from sklearn.base import clone
    from sklearn.metrics import f1_score

    loaded = load_config(CONFIGS / "simulate.yaml")
    rows = [
        (*example.record.values(), example.truth)
        for example in Stream(loaded, load_dataset(loaded.dataset, "classification"))
    ]
    frame = pd.DataFrame(rows, columns=[*FEATURES, "species"])
    before, labelled, fresh = frame[:300], frame[300:500], frame[500:]

    def quality(model: Any, on: pd.DataFrame) -> float:
        return float(f1_score(on["species"], model.predict(on[FEATURES]), average="macro"))

    known = pd.concat([iris.train, before, labelled])
    again = clone(iris.model).fit(known[FEATURES], known["species"])
    lost = quality(iris.model, before) - quality(iris.model, fresh)
    assert lost > 0.3
    assert quality(again, fresh) - quality(iris.model, fresh) > 0.9 * lost
    assert quality(again, iris.holdout) > quality(iris.model, iris.holdout) - 0.1
