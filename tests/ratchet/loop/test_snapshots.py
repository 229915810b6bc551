"""Snapshots: immutable, named by their hash, with each row in one part."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.files import parse_config
from ratchet.data.row_identities import contents_of, prediction_ids
from ratchet.data.snapshots import ROW, Snapshot, load_snapshot, snapshot_path
from ratchet.errors import DataError, StateError
from ratchet.loop.snapshots import as_frame, build_snapshot
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.package.sealed_package import load_package
from ratchet.model.training import build_estimator, fit_model
from ratchet.monitoring.production_rows import labels_up_to, watermark
from ratchet.settings import Settings
from ratchet.store.database import Store
from tests.fitted import Trained, baseline
from tests.labels import Stream, records

Loaded = tuple[Snapshot, pd.DataFrame, pd.DataFrame]


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def stream(any_store: Store) -> Stream:
    return Stream(any_store)


def loop_of(trained: Trained, **sections: Any) -> ContinuousTrainingConfig:
    """Return the config of a training run as one of continuous training."""
    data = trained.config.model_dump(mode="json") | {"pipeline": "continuous_training"} | sections
    config: ContinuousTrainingConfig = parse_config(data)
    return config


@pytest.fixture
def take(home: Settings, stream: Stream) -> Callable[..., Loaded]:
    """Builds and reads the snapshot of all labels, or of a watermark."""

    def build(config: ContinuousTrainingConfig, mark: int | None = None) -> Loaded:
        mark = watermark(stream.store, config.model) if mark is None else mark
        made = build_snapshot(home, config, stream.store, mark)
        return made, *load_snapshot(home, config, made.version)[:2]

    return build


def new_flowers(count: int, seed: int = 0, classes: int = 3) -> tuple[list[dict[str, Any]], list[str]]:
    """Return rows that no data set has, and their labels."""
    generator = np.random.default_rng(seed)
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    rows = [dict(zip(names, generator.uniform(1, 9, 4).tolist(), strict=True)) for _ in range(count)]
    return rows, [("setosa", "versicolor", "virginica")[at % classes] for at in range(count)]


def labelled(stream: Stream, rows: pd.DataFrame, target: str) -> list[str]:
    """Store predictions and true labels for rows of a data set; return their ids."""
    ids = stream.answer(records(rows.drop(columns=target)), rows[target].tolist())
    stream.label(ids, rows[target].tolist())
    return ids


def test_integers_and_booleans_of_the_reference_stay_such_in_the_next_schema(
    home: Settings, any_store: Store, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"n": draw.integers(0, 9, 90), "flag": draw.random(90) < 0.5, "size": draw.normal(size=90)})
    frame.assign(kind=draw.choice(["a", "b"], 90)).to_csv(tmp_path / "data.csv", index=False)
    config = loop_of(baseline(f"dataset={{source: csv, path: {tmp_path}/data.csv, target: kind}}"))
    made = build_snapshot(home, config, any_store, 0)
    schema = load_snapshot(home, config, made.version).schema
    assert [(one.name, one.integer, one.boolean) for one in schema.features] == [
        ("n", True, False),
        ("flag", False, True),
        ("size", False, False),
    ]


def test_without_labels_a_snapshot_equals_the_reference(take: Callable[..., Loaded], iris: Trained) -> None:
    made, train, holdout = take(loop_of(iris))
    pd.testing.assert_frame_equal(train, iris.train)
    pd.testing.assert_frame_equal(holdout, iris.holdout)
    assert (made.watermark, made.reference_train, made.reference_holdout) == (0, 120, 30)
    assert (made.production_train, made.production_holdout) == (0, 0)
    assert made.summary == "120 + 0 rows to train on (reference + production), 30 + 0 held out"


@pytest.mark.parametrize("kind", ["iris", "mixed"])
def test_the_reference_part_equals_the_split_of_the_training_pipeline(
    kind: str, request: pytest.FixtureRequest, take: Callable[..., Loaded], stream: Stream, home: Settings
) -> None:
    """Bit for bit, through the file too, and with missing values and unseen categories of production after it."""
    trained: Trained = request.getfixturevalue(kind)
    package = load_package(*request.getfixturevalue(f"{kind}_package"))
    if kind == "iris":
        flowers, names = new_flowers(10)
        stream.label(stream.answer(flowers, names), names)
    else:
        new: list[Any] = [{"age": 20.5, "plan": "gold"}, {"age": None, "plan": None}, {"plan": "pro"}, {"age": 3}]
        stream.label(stream.answer(new, "no"), ["yes", "no", "yes", "no"])
    made, train, holdout = take(loop_of(trained, model="iris"))
    pd.testing.assert_frame_equal(train.head(made.reference_train), trained.train)
    pd.testing.assert_frame_equal(holdout.head(made.reference_holdout), trained.holdout)
    known = load_snapshot(home, loop_of(trained, model="iris"), made.version)
    assert np.array_equal(known.train_identities.ids[: made.reference_train], package.training_rows.ids)
    assert known.train_identities.source in package.training_rows.sources
    assert made.production_train > 0
    assert made.production_holdout > 0


def test_equal_inputs_give_the_same_file(home: Settings, stream: Stream, iris: Trained) -> None:
    flowers, names = new_flowers(10)
    seqs = stream.label(stream.answer(flowers, names), names)
    config = loop_of(iris)
    one, same = (build_snapshot(home, config, stream.store, seqs[-1]) for _ in range(2))
    assert one == same
    elsewhere = home.model_copy(update={"home": home.home / "elsewhere"})
    assert build_snapshot(elsewhere, config, stream.store, seqs[-1]) == one
    assert [path.name for path in (home.home / "snapshots").iterdir()] == [f"{one.version}.parquet"]
    assert build_snapshot(home, config, stream.store, seqs[-2]).version != one.version
    assert build_snapshot(home, loop_of(iris, seed=7), stream.store, seqs[-1]).version != one.version


def test_a_watermark_freezes_the_labels(take: Callable[..., Loaded], stream: Stream, iris: Trained) -> None:
    flowers, names = new_flowers(10)
    ids = stream.answer(flowers, names)
    seqs = stream.label(ids, names)
    before, train, _ = take(loop_of(iris))
    stream.label(ids[:1], "virginica")
    more, other = new_flowers(5, seed=1)
    stream.label(stream.answer(more, other), other)
    assert take(loop_of(iris), seqs[-1])[0] == before
    now, corrected, _ = take(loop_of(iris))
    assert train["species"][120] == "setosa"
    assert corrected["species"][120] == "virginica"
    assert (before.production_train + before.production_holdout, now.production_train + now.production_holdout) == (
        10,
        15,
    )


def test_rows_with_a_time_column_are_held_out_by_it(
    take: Callable[..., Loaded], tmp_path: Path, any_store: Store
) -> None:
    hours = pd.date_range("2026-01-01", periods=80, freq="h")
    values = np.sin(np.arange(80.0))
    pd.DataFrame({"at": hours, "id": range(80), "y": values}).to_csv(tmp_path / "series.csv", index=False)
    dataset = {
        "source": "csv", "path": str(tmp_path / "series.csv"), "target": "y", "time": "at", "drop": ["id"],
        "window": {"lags": {"y": [1, 2]}},
    }  # fmt: skip
    config: ContinuousTrainingConfig = parse_config({
        "pipeline": "continuous_training", "model": "series", "task": "forecasting", "dataset": dataset,
        "embed": {"kind": "series"}, "train": {"estimator": "sklearn.linear_model.Ridge"},
        "evaluate": {"primary_metric": "rmse"}, "production": {"holdout": 0.3},
    })  # fmt: skip
    later = pd.date_range("2026-02-01", periods=10, freq="h").strftime("%Y-%m-%dT%H:%M:%S")[::-1]
    stream = Stream(any_store, "series")
    sent = [{"at": at, "y_lag_1": 0.5 + n, "y_lag_2": 0.25} for n, at in enumerate(later)]
    stream.label(stream.answer(sent, 0.0), [float(n) for n in range(10)])
    made, train, holdout = take(config)
    assert (made.reference_train, made.production_train, made.production_holdout) == (62, 7, 3)
    assert list(train.columns) == ["at", "y_lag_1", "y_lag_2", "y"]
    assert train["at"].tail(7).max() < holdout["at"].tail(3).min()
    assert train["at"].is_monotonic_increasing, "as an estimator with folds in the order of time takes them"


def test_rows_of_several_series_with_one_time_are_held_out_together(
    take: Callable[..., Loaded], tmp_path: Path, any_store: Store
) -> None:
    hours = pd.date_range("2026-01-01", periods=40, freq="h")
    rows = pd.DataFrame({"at": hours.repeat(3), "shop": [1, 2, 3] * 40, "y": np.sin(np.arange(120.0))})
    rows.to_csv(tmp_path / "shops.csv", index=False)
    dataset = {
        "source": "csv", "path": str(tmp_path / "shops.csv"), "target": "y", "time": "at", "group": "shop",
        "window": {"lags": {"y": [1]}},
    }  # fmt: skip
    config: ContinuousTrainingConfig = parse_config({
        "pipeline": "continuous_training", "model": "shops", "task": "forecasting", "dataset": dataset,
        "embed": {"kind": "series"}, "train": {"estimator": "sklearn.linear_model.Ridge"},
        "evaluate": {"primary_metric": "rmse"}, "production": {"holdout": 0.25},
    })  # fmt: skip
    later = pd.date_range("2026-02-01", periods=10, freq="h").strftime("%Y-%m-%dT%H:%M:%S")
    stream = Stream(any_store, "shops")
    sent = [{"at": at, "shop": shop, "y_lag_1": 0.5} for at in later for shop in "123"]
    stream.label(stream.answer(sent, 0.0), [0.0] * 30)
    made, train, holdout = take(config)
    assert (made.production_train, made.production_holdout) == (24, 6), "23 and 7 would divide an hour"
    assert set(train["at"]) & set(holdout["at"]) == set()
    assert train["shop"].unique().tolist() == ["1", "2", "3"], "the number of a shop stays a name"


def test_rows_without_a_time_column_are_held_out_by_the_time_of_prediction(
    take: Callable[..., Loaded], stream: Stream, iris: Trained
) -> None:
    flowers, names = new_flowers(10)
    ids = stream.answer(flowers, names)
    stream.label(ids[::-1], names[::-1])  # the labels come in the wrong order
    made, train, holdout = take(loop_of(iris, production={"holdout": 0.3}))
    assert (made.production_train, made.production_holdout) == (7, 3)
    sent = [row["sepal_length"] for row in flowers]
    assert train["sepal_length"][120:].tolist() == sent[:7]
    assert holdout["sepal_length"][30:].tolist() == sent[7:], "the reference comes first, then production"


@pytest.mark.parametrize(("n_rows", "held"), [(1, 0), (3, 0), (4, 1), (100, 30)])
def test_the_number_of_held_out_rows_is_rounded_down(
    take: Callable[..., Loaded], stream: Stream, iris: Trained, n_rows: int, held: int
) -> None:
    flowers, names = new_flowers(n_rows)
    stream.label(stream.answer(flowers, names), names)
    made = take(loop_of(iris, production={"holdout": 0.3}))[0]
    assert (made.production_train, made.production_holdout) == (n_rows - held, held)


def test_equal_rows_of_reference_and_production_are_all_kept(
    take: Callable[..., Loaded], stream: Stream, iris: Trained, home: Settings
) -> None:
    """Production sends rows of both parts of the reference, and some rows twice: each is an observation."""
    flowers, names = new_flowers(20)
    ids = labelled(stream, iris.holdout.head(5), "species")
    ids += stream.answer(flowers, names)
    stream.label(ids[5:], names)
    ids += labelled(stream, iris.train.head(5), "species")
    again = stream.answer(flowers[:5], names[:5])
    stream.label(again, names[:5])
    config = loop_of(iris, production={"holdout": 0.3})
    made, train, holdout = take(config)
    assert (made.production_train, made.production_holdout) == (25, 10)
    pd.testing.assert_frame_equal(train.head(120), iris.train)
    pd.testing.assert_frame_equal(holdout.head(30), iris.holdout)
    known = load_snapshot(home, config, made.version)
    expected = prediction_ids(ids + again)
    assert np.array_equal(known.train_identities.ids[120:], expected[:25])
    assert np.array_equal(known.holdout_identities.ids[30:], expected[25:])
    assert (known.train_identities.n_data, known.holdout_identities.n_data) == (120, 30)
    assert np.array_equal(known.holdout_identities.ids[:30], iris.holdout_identities.ids)
    assert np.array_equal(known.holdout_identities.contents, contents_of(holdout, "species"))


def test_rows_of_a_snapshot_that_was_written_without_identities_are_known_by_their_place_in_it(
    take: Callable[..., Loaded], stream: Stream, iris: Trained, home: Settings
) -> None:
    flowers, names = new_flowers(10)
    stream.label(stream.answer(flowers, names), names)
    made, train, holdout = take(loop_of(iris))
    frame = pd.read_parquet(snapshot_path(home, made.version)).drop(columns=ROW)
    frame.attrs = {}
    content = frame.to_parquet(index=False)
    old = hashlib.md5(content, usedforsecurity=False).hexdigest()
    snapshot_path(home, old).write_bytes(content)
    found = load_snapshot(home, loop_of(iris), old)
    pd.testing.assert_frame_equal(found.train, train)
    pd.testing.assert_frame_equal(found.holdout, holdout)
    assert found.train_identities.source == f"snapshot {old}"
    assert len(np.union1d(found.train_identities.ids, found.holdout_identities.ids)) == len(frame)


def test_rows_without_a_target_are_left_out(take: Callable[..., Loaded], stream: Stream, iris: Trained) -> None:
    flowers, names = new_flowers(9)
    ids = stream.answer(flowers, names)
    stream.label(ids[:4], names[:4])
    stream.label(ids[4:6], None, correct=False)
    assert stream.label(ids[:1], None, correct=False), "what was known is taken back"
    other = Stream(stream.store, "wine")
    other.label(other.answer(flowers, names, at=1.0), names)
    made, train, holdout = take(loop_of(iris, production={"holdout": 0.4}))
    assert (made.production_train, made.production_holdout) == (2, 1)
    sent = [row["sepal_length"] for row in flowers[1:4]]
    assert [*train["sepal_length"][120:], *holdout["sepal_length"][30:]] == sent


def test_the_rows_with_the_newest_labels_are_used_up_to_a_limit(
    take: Callable[..., Loaded], stream: Stream, iris: Trained
) -> None:
    flowers, names = new_flowers(130)
    stream.label(stream.answer(flowers, names), names)
    made, train, holdout = take(loop_of(iris, production={"most_rows": 100, "holdout": 0.3}))
    assert (made.production_train, made.production_holdout) == (70, 30)
    sent = [row["sepal_length"] for row in flowers[30:]]
    assert [*train["sepal_length"][120:], *holdout["sepal_length"][30:]] == sent


def csv_config(trained: Trained, path: Path, target: str, **sections: Any) -> ContinuousTrainingConfig:
    dataset = {"source": "csv", "path": str(path), "target": target, **sections.pop("dataset", {})}
    return loop_of(trained, **{"model": "iris", "dataset": dataset, "embed": {"reducer": "none"}, **sections})


def test_labels_that_are_whole_numbers_stay_integers(
    take: Callable[..., Loaded], stream: Stream, iris: Trained, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0), "y": [0, 1] * 20})
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    stream.label(stream.answer([{"x": -1.5}, {"x": -2.5}], 1), [0, 1])
    _, train, holdout = take(csv_config(iris, tmp_path / "numbers.csv", "y", production={"holdout": 0.5}))
    assert (train["y"].dtype, holdout["y"].dtype) == (np.dtype("int64"), np.dtype("int64"))
    assert train["y"].iloc[-1] == 0
    assert holdout["y"].iloc[-1] == 1


def test_the_target_of_a_regression_is_a_number(take: Callable[..., Loaded], stream: Stream, diabetes: Trained) -> None:
    rows = diabetes.train.head(4).copy()
    rows["bmi"] += 1.0
    rows["progression"] = [151.0, 148.5, 90.25, 200.0]
    labelled(stream, rows, "progression")
    made, train, holdout = take(loop_of(diabetes, model="iris", production={"holdout": 0.5}))
    pd.testing.assert_frame_equal(train.head(made.reference_train), diabetes.train)
    assert train["progression"].iloc[-2:].tolist() == [151.0, 148.5]
    assert holdout["progression"].iloc[-2:].tolist() == [90.25, 200.0]
    assert train.dtypes.eq("float64").all()


def test_an_unseen_category_is_trained_on(
    home: Settings, stream: Stream, mixed: Trained, take: Callable[..., Loaded]
) -> None:
    new: list[Any] = [{"age": 20.0 + at, "plan": "gold"} for at in range(10)]
    stream.label(stream.answer(new, "no"), ["yes", "no"] * 5)
    config = loop_of(mixed, model="iris")
    made, train, _ = take(config)
    schema = load_snapshot(home, config, made.version)[2]
    assert schema.features[1].categories == ("basic", "gold", "plus", "pro")
    embedder = fit_embedder(config.embed, schema, train, config.seed)
    features = embed(embedder, train, schema).to_numpy()
    estimator = build_estimator(config.train, config.task, config.seed)
    model = fit_model(estimator, embedder, features, train["left"].to_numpy())
    assert set(model.predict(schema.select(pd.DataFrame(new)))) <= {"yes", "no"}


def test_a_category_of_digits_stays_a_category(
    take: Callable[..., Loaded], stream: Stream, iris: Trained, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"code": ["a7", "b1", "12", "c3"] * 10, "x": np.arange(40.0), "y": ["no", "yes"] * 20})
    frame.to_csv(tmp_path / "codes.csv", index=False)
    new: list[Any] = [{"code": "7", "x": float(-at)} for at in range(90)]
    stream.label(stream.answer(new, "no"), "yes")
    _, train, _ = take(csv_config(iris, tmp_path / "codes.csv", "y"))
    assert train["code"].dtype == object
    assert train["code"].iloc[-1] == "7"


def test_a_rule_for_a_dropped_column_is_ignored(take: Callable[..., Loaded], iris: Trained, tmp_path: Path) -> None:
    frame = pd.DataFrame({"row": range(40), "x": np.arange(40.0), "y": ["no", "yes"] * 20})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    dataset = {"drop": ["row"], "columns": {"row": {"minimum": 0}, "x": {"minimum": 0}}}
    made, train, _ = take(csv_config(iris, tmp_path / "rows.csv", "y", dataset=dataset))
    assert train.columns.tolist() == ["x", "y"]
    assert made.reference_train == 32


def test_a_production_row_that_breaks_a_rule_raises(
    take: Callable[..., Loaded], stream: Stream, iris: Trained, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0), "y": ["no", "yes"] * 20})
    frame.to_csv(tmp_path / "rules.csv", index=False)
    stream.label(stream.answer([{"x": -1.0}], "no"), "yes")
    config = csv_config(iris, tmp_path / "rules.csv", "y", dataset={"columns": {"x": {"minimum": 0}}})
    with pytest.raises(DataError, match=r"column 'x': breaks the rule .*: got -1.0") as caught:
        take(config)
    assert "\n" not in str(caught.value)


def test_a_changed_snapshot_raises(take: Callable[..., Loaded], home: Settings, iris: Trained) -> None:
    made, _, _ = take(loop_of(iris))
    path = snapshot_path(home, made.version)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=f"{made.version}.parquet: was changed since it was written"):
        load_snapshot(home, loop_of(iris), made.version)
    assert take(loop_of(iris))[0] == made, "the next run writes it anew"


def test_a_missing_snapshot_raises(home: Settings, iris: Trained) -> None:
    with pytest.raises(DataError, match=r"the snapshot abc .* is not in this home .*abc\.parquet"):
        load_snapshot(home, loop_of(iris), "abc")


def test_a_home_that_cannot_be_written_raises(home: Settings, stream: Stream, iris: Trained) -> None:
    home.home.mkdir()
    (home.home / "snapshots").write_text("in the way")
    with pytest.raises(StateError, match="the snapshot of training rows cannot be written to .*snapshots"):
        build_snapshot(home, loop_of(iris), stream.store, 0)


def test_a_failed_write_of_a_snapshot_leaves_no_file(
    home: Settings, stream: Stream, iris: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StateError, match="No space left on device"):
        build_snapshot(home, loop_of(iris), stream.store, 0)
    assert list((home.home / "snapshots").iterdir()) == []


def test_rows_that_parquet_rejects_leave_no_file(
    home: Settings, stream: Stream, iris: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(frame: pd.DataFrame, *where: Any, **how: Any) -> bytes:
        raise pa.ArrowInvalid("no such type")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", broken)
    with pytest.raises(pa.ArrowInvalid):
        build_snapshot(home, loop_of(iris), stream.store, 0)
    assert list(home.home.rglob("*.partial")) == []


def test_a_later_run_deletes_the_partial_file_of_a_killed_one(home: Settings, stream: Stream, iris: Trained) -> None:
    made = build_snapshot(home, loop_of(iris), stream.store, 0)
    left = home.home / "snapshots" / ".ratchet-0.partial"
    left.touch()
    os.utime(left, (0, 0))
    build_snapshot(home, loop_of(iris), stream.store, 0)
    assert [path.name for path in left.parent.iterdir()] == [f"{made.version}.parquet"]


def test_production_rows_get_the_columns_of_the_reference(stream: Stream, mixed: Trained) -> None:
    sent: list[Any] = [{"plan": "pro", "age": 3, "more": 1.0}, {"age": None}]
    seqs = stream.label(stream.answer(sent, "no"), "yes")
    frame = as_frame(labels_up_to(stream.store, "iris", seqs[-1], 10), mixed.schema)
    assert frame.columns.tolist() == ["age", "plan", "left"]
    assert frame.dtypes.tolist() == [np.dtype("float64"), np.dtype("object"), np.dtype("object")]
    assert frame["age"].tolist()[0] == 3.0
    assert frame.isna().to_numpy().tolist() == [[False, False, False], [True, True, False]]
    assert as_frame([], mixed.schema).dtypes.tolist() == frame.dtypes.tolist()
