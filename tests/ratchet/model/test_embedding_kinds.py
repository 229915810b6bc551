"""The kinds of embedder beside the tabular one: what each makes of its columns, and that none sees a holdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.base import clone

from ratchet.config import Embed, TrainingConfig
from ratchet.config.files import json_schema, parse_config
from ratchet.data import load_dataset
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.embedding.calendar import CalendarFeatures
from ratchet.model.estimators import MatrixFactorization
from ratchet.model.tasks import TASKS
from ratchet.model.training import build_estimator, fit_model

BASE: dict[str, Any] = {
    "model": "m",
    "dataset": {"source": "csv", "path": "x.csv", "target": "y"},
    "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "evaluate": {"primary_metric": "accuracy"},
}
KINDS: dict[str, dict[str, Any]] = {
    "tabular": {},
    "image": {"kind": "image", "maximum": 16, "n_components": 3},
    "text": {"kind": "text", "ngrams": [1, 2], "n_components": 3},
    "series": {"kind": "series", "calendar": ["hour"]},
    "ratings": {"kind": "ratings", "user": "who", "item": "film"},
}


def config_of(section: dict[str, Any], **more: Any) -> TrainingConfig:
    config: TrainingConfig = parse_config({**BASE, "embed": section, **more}, "c.yaml")
    return config


def schema_of(**types: Any) -> Schema:
    features = tuple(Field(name=name, type=kind, nullable=True) for name, kind in types.items())
    return Schema(features=features, target="y")


def embedded(section: dict[str, Any], schema: Schema, rows: pd.DataFrame, new: pd.DataFrame | None = None) -> Any:
    embedder = fit_embedder(config_of(section).embed, schema, rows, seed=1)
    return embed(embedder, rows if new is None else new, schema)


def test_a_section_without_a_kind_is_of_a_table() -> None:
    assert config_of({"scaler": "minmax"}).embed == Embed(scaler="minmax")
    assert config_of({"kind": "tabular"}).embed == Embed()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_survives_the_json_of_a_config(kind: str) -> None:
    config = config_of(KINDS[kind])
    assert config.embed.kind == kind
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "txt"}, "embed: got {'kind': 'txt'}: unknown kind; known are: image, ratings, series, tabular, text"),
        ({"kind": "text", "ngram": 2}, "unknown key 'embed.ngram'; did you mean 'ngrams'"),
        ({"kind": "text", "ngrams": [2, 1]}, r"embed: ngrams: got \[2, 1\], expected \[least, most\]"),
        ({"kind": "text", "min_df": 0}, "embed.min_df: got 0: input should be greater than or equal to 1"),
        ({"kind": "ratings", "user": "u"}, "the key 'embed.item' is missing"),
        ({"kind": "series", "calendar": ["year"]}, "embed.calendar.0: got 'year': input should be 'hour', 'weekday'"),
        ({"n_component": 2}, "unknown key 'embed.n_component'; did you mean 'n_components'"),
        (3, "embed: got 3"),
    ],
)
def test_the_error_of_a_wrong_section_names_the_key(section: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(section)


def test_the_schema_of_configs_distinguishes_the_kinds() -> None:
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json_schema())
    for section in KINDS.values():
        assert validator.is_valid({**BASE, "pipeline": "training", "embed": section}), section
    for wrong in ({"kind": "text", "scalar": 1}, {"kind": "ratings"}, {"kind": "txt"}, {"ngrams": [1, 2]}):
        assert not validator.is_valid({**BASE, "pipeline": "training", "embed": wrong}), wrong


def test_pixels_are_scaled_by_their_possible_range_and_not_by_the_observed_one() -> None:
    schema = schema_of(a="number", b="number")
    rows = pd.DataFrame({"a": [0.0, 4.0, 8.0], "b": [0.0, 0.0, 0.0]})
    embedder = fit_embedder(config_of({"kind": "image", "maximum": 16}).embed, schema, rows, seed=1)
    np.testing.assert_allclose(embedder["encode"].transform(rows), [[0, 0], [0.25, 0], [0.5, 0]])
    lit = pd.DataFrame({"a": [np.nan], "b": [16.0]})
    np.testing.assert_allclose(embedder["encode"].transform(lit), [[0, 1]], err_msg="a missing pixel is dark")


def test_texts_with_the_same_words_are_close_whatever_their_length() -> None:
    texts = [
        "a fine film",
        "fine fine film",
        "rain in the north",
        "rain and wind in the north",
        "fine film",
        "north wind",
    ]
    found = embedded({"kind": "text", "n_components": 2}, schema_of(t="text"), pd.DataFrame({"t": texts})).to_numpy()
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.9
    assert unit[0] @ unit[2] < 0.2


def test_a_text_without_a_known_word_is_zero_and_other_columns_are_kept() -> None:
    schema = schema_of(t="text", n="number", c="category")
    rows = pd.DataFrame({"t": ["one two", "two three", "one three"], "n": [1.0, 2.0, 3.0], "c": ["x", "y", "x"]})
    new = pd.DataFrame({"t": ["", "unknown"], "n": [2.0, np.nan], "c": ["x", "z"]})
    found = embedded({"kind": "text", "scaler": "none", "n_components": 2}, schema, rows, new)
    np.testing.assert_array_equal(found.to_numpy(), [[0, 0, 2, 1, 0], [0, 0, 2, 0, 0]])


@pytest.mark.parametrize(
    ("section", "schema", "message"),
    [
        ({"kind": "text"}, schema_of(c="category"), "text needs a column of type text: declare it in dataset.columns"),
        ({"kind": "text", "columns": ["c"]}, schema_of(c="category", t="text"), "embed.columns: 'c' is of type cat"),
        ({"kind": "text", "columns": ["tt"]}, schema_of(t="text"), "no feature 'tt'; did you mean 't'|known are: t"),
        ({"kind": "text", "min_df": 9}, schema_of(t="text"), "embed.min_df: no term of column 't' is in 9 of 4"),
        ({"kind": "text", "n_components": 9}, schema_of(t="text"), "got 9, but 2 terms in 4 training rows allow at"),
        ({"kind": "series"}, schema_of(n="number"), "embed.kind: series needs a column of type time"),
        ({"kind": "series"}, schema_of(t="text"), "series cannot take the column 't' of type text: name it in"),
        ({}, schema_of(t="text"), "embed.kind: tabular cannot take the column 't' of type text"),
        ({}, schema_of(t="time"), "tabular has no column but a time: set embed.kind: series"),
        ({"kind": "image"}, schema_of(c="category"), "image cannot take the column 'c' of type category"),
        (KINDS["ratings"], schema_of(who="category"), "embed.item: there is no feature 'film'"),
        ({"kind": "ratings", "user": "c", "item": "c"}, schema_of(c="category"), "'c' is the user already"),
    ],
)
def test_columns_that_a_kind_cannot_take_are_refused(section: dict[str, Any], schema: Schema, message: str) -> None:
    values = {"number": [1.0, 2.0, 3.0, 4.0], "text": ["aa bb", "bb aa", "aa bb", "bb"], "time": ["2026-01-01"] * 4}
    rows = pd.DataFrame({f.name: values.get(f.type, ["x", "y", "x", "y"]) for f in schema.features})
    with pytest.raises(ConfigError, match=message):
        embedded(section, schema, rows)


def test_the_end_of_a_cycle_is_beside_its_beginning() -> None:
    calendar = CalendarFeatures(("hour", "month")).fit(pd.DataFrame({"at": ["2026-01-01"]}))
    late, early, noon, missing = calendar.transform(
        pd.DataFrame({"at": ["2026-12-31T23:59:00", "2027-01-01T00:00:00", "2026-06-15T12:00:00", ""]})
    )
    assert np.linalg.norm(late[:2] - early[:2]) < 0.01
    np.testing.assert_allclose(noon[:2], [0, -1], atol=1e-9)
    assert np.linalg.norm(late[2:] - early[2:]) < np.linalg.norm(noon[2:] - early[2:])
    np.testing.assert_array_equal(missing, 0)
    assert clone(calendar).get_params() == {"cycles": ("hour", "month")}


def test_users_and_items_are_codes_and_one_never_seen_is_minus_one() -> None:
    schema = schema_of(who="category", film="number", age="number")
    rows = pd.DataFrame({"who": ["ann", "bob", "ann"], "film": [10.0, 30.0, 20.0], "age": [1.0, 2.0, 3.0]})
    new = pd.DataFrame({"who": ["bob", "cleo", ""], "film": [20.0, 40.0, np.nan], "age": [np.nan] * 3})
    found = embedded(KINDS["ratings"], schema, rows, new)
    np.testing.assert_array_equal(found.to_numpy(), [[1, 1], [-1, -1], [-1, -1]])


# With random targets, a holdout score above chance would be a leak from the holdout.


def nothing_to_learn(kind: str, seed: int, rows: int = 400) -> tuple[pd.DataFrame, Schema]:
    """Features of a kind, and a target that has nothing to do with them."""
    generator = np.random.default_rng(seed)
    words = np.array([f"word{i}" for i in range(40)])
    frames: dict[str, dict[str, Any]] = {
        "tabular": {f"n{i}": generator.normal(size=rows) for i in range(8)}
        | {"c": generator.choice(list("abc"), rows)},
        "image": {f"p{i}": generator.integers(0, 17, rows).astype(float) for i in range(12)},
        "text": {"t": [" ".join(generator.choice(words, 6)) for _ in range(rows)]},
        "ratings": {
            "who": generator.choice([f"u{i}" for i in range(20)], rows),
            "film": generator.choice([f"f{i}" for i in range(30)], rows),
        },
    }
    types = {"tabular": {"c": "category"}, "text": {"t": "text"}, "ratings": {"who": "category", "film": "category"}}
    frame = pd.DataFrame(frames[kind]).astype(dict.fromkeys(types.get(kind, {}), object))
    kinds = {name: types.get(kind, {}).get(name, "number") for name in frame}
    labels = None if kind == "ratings" else ("no", "yes")
    frame["y"] = generator.integers(1, 6, rows).astype(float) if labels is None else generator.choice(labels, rows)
    return frame, schema_of(**kinds).model_copy(update={"labels": labels})


@pytest.mark.parametrize("kind", ["tabular", "image", "text", "ratings"])
def test_with_shuffled_targets_a_holdout_is_predicted_by_chance(kind: str) -> None:
    gains = []
    for seed in range(5):
        frame, schema = nothing_to_learn(kind, seed)
        task = TASKS["recommendation" if kind == "ratings" else "classification"]
        config = config_of(KINDS[kind])
        train, holdout = task.split(frame, schema, config.split, seed)
        embedder = fit_embedder(config.embed, schema, train, seed)
        features = embed(embedder, train, schema).to_numpy()
        estimator = (
            MatrixFactorization(random_state=seed)
            if kind == "ratings"
            else build_estimator(config.train, "classification", seed, schema)
        )
        model = fit_model(estimator, embedder, features, train["y"].to_numpy())
        predicted, truth = model.predict(schema.select(holdout)), holdout["y"].to_numpy()
        if kind == "ratings":
            gains.append(1 - ((predicted - truth) ** 2).mean() / ((train["y"].mean() - truth) ** 2).mean())
        else:
            gains.append(float((predicted == truth).mean()) - 0.5)
    # 400 random labels in all: a standard error of 0.025.
    assert np.mean(gains) < 0.08


def series(path: Path, values: npt.NDArray[np.float64]) -> TrainingConfig:
    """The config of a forecast, one and three hours back and two ahead, on a file of these values."""
    hours = pd.date_range("2026-01-01", periods=len(values), freq="h")
    pd.DataFrame({"at": hours, "y": values, "wind": values}).to_csv(path, index=False)
    window = {"lags": {"y": [2, 3]}, "horizon": 2}
    return config_of(
        {"kind": "series"},
        task="forecasting",
        dataset={"source": "csv", "path": str(path), "target": "y", "time": "at", "window": window},
        train={"estimator": "sklearn.linear_model.Ridge"},
        evaluate={"primary_metric": "rmse"},
    )


def fitted(config: TrainingConfig) -> tuple[Any, pd.DataFrame, pd.DataFrame, Schema]:
    data = load_dataset(config.dataset, config.task)
    train, holdout = TASKS[config.task].split(data.frame, data.schema, config.split, 1)
    embedder = fit_embedder(config.embed, data.schema, train, 1)
    estimator = build_estimator(config.train, config.task, 1, data.schema)
    features = embed(embedder, train, data.schema).to_numpy()
    return fit_model(estimator, embedder, features, train["y"].to_numpy()), train, holdout, data.schema


def test_a_window_holds_nothing_of_the_predicted_time_or_later_and_the_newest_are_held_out(tmp_path: Path) -> None:
    # The value is the hour's number, so that each cell tells which hour it was seen in.
    _, train, holdout, schema = fitted(series(tmp_path / "s.csv", np.arange(200.0)))
    for rows in (train, holdout):
        numbers = rows[[field.name for field in schema.features if field.type == "number"]]
        assert (rows["y"] - numbers.max(axis=1)).min() >= 2, "two hours ahead"
    assert train["y"].max() < holdout["y"].min()
    assert train["at"].max() < holdout["at"].min()


def test_a_series_without_order_is_forecast_by_chance(tmp_path: Path) -> None:
    gains = []
    for seed in range(5):
        values = np.random.default_rng(seed).permutation(np.sin(np.arange(600) / 4) * 10)
        model, train, holdout, schema = fitted(series(tmp_path / f"{seed}.csv", values))
        error = (model.predict(schema.select(holdout)) - holdout["y"]) ** 2
        gains.append(1 - error.mean() / ((holdout["y"] - train["y"].mean()) ** 2).mean())
    assert np.mean(gains) < 0.02


def test_training_is_the_same_whatever_comes_after_it(tmp_path: Path) -> None:
    values = np.sin(np.arange(300) / 4) * 10
    one, train, _, schema = fitted(series(tmp_path / "one.csv", values))
    other, same, _, _ = fitted(
        series(tmp_path / "other.csv", np.r_[values[: len(train) + 3], values[len(train) + 3 :] * 50])
    )
    pd.testing.assert_frame_equal(train, same)
    rows = schema.select(train)
    np.testing.assert_array_equal(one.predict(rows), other.predict(rows))
