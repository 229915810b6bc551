from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from ratchet.config import Embed, ParquetDataset, Split, Train, TrainingConfig
from ratchet.config.files import load_config
from ratchet.data import Schema, load_dataset
from ratchet.data.batches import BatchedFile, ingest
from ratchet.data.batches.draws import held_out
from ratchet.data.row_identities import contents_of
from ratchet.data.training_rows import TrainingRows
from ratchet.errors import ConfigError, TrainingError
from ratchet.model import embedding
from ratchet.model.batches.partial_fit import fit_model, require_partial_fit
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.model.package.sealed_package import load_package, verify_package, write_package
from ratchet.model.training import build_estimator
from tests.fitted import CONFIGS

SPLIT, SEED = Split(test_size=0.25), 3
SGD = "sklearn.linear_model.SGDClassifier"


def numbers(n_rows: int = 4000) -> pd.DataFrame:
    """Numbers that hang together, one far from zero, one constant, and a class that the file has late only."""
    generator = np.random.default_rng(0)
    base = generator.normal(size=(n_rows, 3)) @ generator.normal(size=(3, 6))
    frame = pd.DataFrame(base + 0.3 * generator.normal(size=base.shape), columns=[f"x{i}" for i in range(6)])
    frame["far"], frame["same"] = 1e6 + frame["x0"] + generator.normal(size=n_rows), 0.1
    frame["sorted"] = np.linspace(-3, 3, n_rows) + frame["x1"]
    frame["kind"] = np.where(frame["x0"] + frame["x1"] > 0, "yes", "no")
    frame.loc[n_rows // 2 :: 4, "kind"] = "late"
    return frame


def mixed(n_rows: int = 4000) -> pd.DataFrame:
    """The same with gaps and categories, of which one occurs late and one in the holdout alone."""
    generator, frame = np.random.default_rng(1), numbers(n_rows)
    frame["colour"] = generator.choice(["red", "green", "blue"], n_rows)
    frame.loc[n_rows - 100 :, "colour"] = "violet"
    frame.loc[generator.random(n_rows) < 0.1, "colour"] = None
    frame.loc[generator.random(n_rows) < 0.1, "x2"] = np.nan
    frame.loc[:999, "sorted"] = np.nan
    return frame


def file_of(frame: pd.DataFrame, folder: Path, batch_rows: int = 700, **keys: Any) -> BatchedFile:
    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    frame.to_parquet(path, row_group_size=900, index=False)
    keys = {"source": "parquet", "path": path, "target": "kind", "batch_rows": batch_rows, **keys}
    return BatchedFile(ParquetDataset(**keys), "classification")


def training_part(file: BatchedFile) -> pd.DataFrame:
    frame = load_dataset(file.config.model_copy(update={"batch_rows": None}), "classification").frame
    return frame[~held_out(frame, SPLIT.test_size, SEED)].reset_index(drop=True)


def batches_of(file: BatchedFile) -> TrainingBatches:
    return TrainingBatches(dataset=file.config, task="classification", split=SPLIT, seed=SEED)


def both(file: BatchedFile, config: Embed) -> tuple[Pipeline, Pipeline, Schema, pd.DataFrame]:
    """The embedder of the batches and that of the frame, with the schema and the training part."""
    schema = ingest(file.config, SPLIT, "classification", SEED).schema
    rows = training_part(file)
    streamed = embedding.fit_embedder(config, schema, batches_of(file), SEED)
    return streamed, embedding.fit_embedder(config, schema, rows, SEED), schema, rows


@pytest.mark.parametrize("scaler", ["standard", "minmax", "none"])
def test_without_gaps_the_embedder_is_that_of_the_whole_frame(
    tmp_path: Path, scaler: Literal["standard", "minmax", "none"]
) -> None:
    streamed, expected, _, _ = both(file_of(numbers(), tmp_path), Embed(scaler=scaler, reducer="none"))
    found, wanted = streamed["encode"].named_steps, expected["encode"].named_steps
    assert list(found) == list(wanted)
    if scaler != "none":
        for learned in ("mean_", "var_", "scale_", "data_min_", "data_max_"):
            if hasattr(wanted["scale"], learned):
                np.testing.assert_allclose(
                    getattr(found["scale"], learned), getattr(wanted["scale"], learned), rtol=1e-9, atol=1e-12
                )


@pytest.mark.parametrize("scaler", ["standard", "minmax"])
@pytest.mark.parametrize("n_components", [3, None])
def test_pca_is_that_of_the_whole_frame(
    tmp_path: Path, scaler: Literal["standard", "minmax"], n_components: int | None
) -> None:
    frame = numbers().drop(columns="same")
    streamed, expected, schema, rows = both(file_of(frame, tmp_path), Embed(scaler=scaler, n_components=n_components))
    found, wanted = (embedding.embed(embedder, rows, schema) for embedder in (streamed, expected))
    np.testing.assert_allclose(found, wanted, atol=1e-7)
    np.testing.assert_allclose(
        streamed["reduce"].explained_variance_, expected["reduce"].explained_variance_, rtol=1e-9
    )


def test_gaps_are_filled_with_the_mean_and_scaled_as_if_they_had_been_there(tmp_path: Path) -> None:
    streamed, _, schema, rows = both(file_of(mixed(), tmp_path), Embed())
    numbers_of = streamed["encode"].named_transformers_["number"]
    features = schema.select(rows)[numbers_of.feature_names_in_]
    np.testing.assert_allclose(numbers_of["impute"].statistics_, features.mean(), rtol=1e-9)
    filled = features.fillna(features.mean())
    np.testing.assert_allclose(numbers_of["scale"].var_, filled.var(ddof=0), rtol=1e-9, atol=1e-12)
    encoded = streamed["encode"].transform(schema.select(rows))
    np.testing.assert_allclose(streamed["reduce"].mean_, encoded.mean(axis=0), atol=1e-9)
    components = embedding.embed(streamed, rows, schema)
    np.testing.assert_allclose(components.cov(), np.diag(streamed["reduce"].explained_variance_), atol=1e-8)


def test_categories_are_those_of_the_training_part(tmp_path: Path) -> None:
    frame = mixed()
    file = file_of(frame, tmp_path)
    typed = load_dataset(file.config.model_copy(update={"batch_rows": None}), "classification").frame
    only_held_out = np.flatnonzero(held_out(typed, SPLIT.test_size, SEED))
    for at in only_held_out:  # the row changes, and its side does not
        changed = frame.copy()
        changed.loc[at, "colour"] = "unseen"
        file = file_of(changed, tmp_path)
        if "unseen" not in set(training_part(file)["colour"]):
            break
    streamed, expected, schema, _ = both(file, Embed(reducer="none"))
    assert "unseen" in next(field for field in schema.features if field.name == "colour").categories
    found, wanted = (e["encode"].named_transformers_["category"].categories_ for e in (streamed, expected))
    assert [list(categories) for categories in found] == [list(categories) for categories in wanted]
    assert "unseen" not in found[0]


def test_a_number_that_only_the_holdout_has_becomes_0(tmp_path: Path) -> None:
    for at in range(50):
        frame = numbers().assign(rare=np.nan)
        frame.loc[at, "rare"] = 7.0
        file = file_of(frame, tmp_path)
        if training_part(file)["rare"].isna().all():
            break
    streamed, expected, schema, rows = both(file, Embed(reducer="none"))
    for embedder in (streamed, expected):
        assert not embedding.embed(embedder, rows, schema)["FEATURE_10"].any()


@pytest.mark.parametrize("target", ["x0", "kind"])
def test_a_file_of_categories_alone_is_embedded(tmp_path: Path, target: str) -> None:
    file = file_of(mixed()[["colour", "kind"]].assign(shape=["round", "square"] * 2000), tmp_path)
    streamed, expected, schema, rows = both(file, Embed())
    found, wanted = (np.abs(embedding.embed(embedder, rows, schema)) for embedder in (streamed, expected))
    np.testing.assert_allclose(found.iloc[:, :2], wanted.iloc[:, :2], atol=1e-7)


def test_more_components_than_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"embed.n_components: got 10, but 9 encoded features in \d{4} training"):
        both(file_of(numbers(), tmp_path), Embed(n_components=10))


@pytest.mark.parametrize("scaler", ["standard", "none"])
def test_columns_that_are_far_from_zero_sorted_and_with_gaps_keep_their_digits(
    tmp_path: Path, scaler: Literal["standard", "none"]
) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(5000, 3)) + 1e8
    values[:, 1] = np.sort(values[:, 1] * 1e-4)
    values[generator.random(values.shape) < 0.2] = np.nan
    values[:1500, 2] = np.nan
    frame = pd.DataFrame(values, columns=["a", "b", "c"]).assign(kind=["yes", "no"] * 2500)
    streamed, _, _, rows = both(file_of(frame, tmp_path, batch_rows=300), Embed(scaler=scaler))
    features = rows[["a", "b", "c"]]
    encode, reduce = streamed["encode"].named_steps, streamed["reduce"]
    np.testing.assert_allclose(encode["impute"].statistics_, features.mean(), rtol=1e-14)
    filled = features.fillna(features.mean())
    if scaler == "standard":
        np.testing.assert_allclose(encode["scale"].var_, filled.var(ddof=0), rtol=1e-7)
        filled = (filled - filled.mean()) / filled.std(ddof=0)
    np.testing.assert_allclose(reduce.get_covariance(), filled.cov(), rtol=1e-6, atol=1e-8)


def fitted(file: BatchedFile, epochs: int = 1, **train: Any) -> tuple[Pipeline, npt.NDArray[np.uint64]]:
    """A model that was fitted in batches, and the hashes of its training rows."""
    schema = ingest(file.config, SPLIT, "classification", SEED).schema
    batches = batches_of(file)
    embedder = embedding.fit_embedder(Embed(n_components=4), schema, batches, SEED)
    estimator = build_estimator(Train(**{"estimator": SGD, **train}), "classification", SEED)
    return fit_model(estimator, embedder, schema, batches, epochs)


def test_a_class_that_the_first_batch_lacks_is_learned(tmp_path: Path) -> None:
    frame = numbers()
    frame.loc[frame["kind"] == "late", "x5"] += 20
    file = file_of(frame, tmp_path)
    model, rows = fitted(file, epochs=3)[0], training_part(file)
    assert model.classes_.tolist() == ["late", "no", "yes"]
    assert (model.predict(rows.drop(columns="kind"))[rows["kind"] == "late"] == "late").mean() > 0.8


def test_the_identity_of_every_training_row_is_returned(tmp_path: Path) -> None:
    file = file_of(mixed(), tmp_path)
    _, known = fitted(file, epochs=2)
    np.testing.assert_array_equal(known.contents, contents_of(training_part(file), "kind"))
    assert np.isin(ingest(file.config, SPLIT, "classification", SEED).train_identities.ids, known.ids).all()


def test_batches_are_full_but_for_the_last_of_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import SGDClassifier

    sizes: list[int] = []
    learn = SGDClassifier.partial_fit

    def partial_fit(self: Any, X: Any, y: Any, classes: Any = None) -> Any:  # noqa: N803
        sizes.append(len(X))
        return learn(self, X, y, classes=classes)

    monkeypatch.setattr(SGDClassifier, "partial_fit", partial_fit)
    file = file_of(numbers(), tmp_path)
    fitted(file, epochs=2)
    full, rest = divmod(len(training_part(file)), 700)
    assert sizes == ([700] * full + [rest]) * 2


def test_two_fits_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    file = file_of(numbers(), tmp_path)
    one, two = (fitted(file)[0]["model"].coef_ for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_naive_bayes_does_not_depend_on_the_size_of_a_batch(tmp_path: Path) -> None:
    small, large = (
        fitted(file_of(numbers(), tmp_path, batch_rows), estimator="sklearn.naive_bayes.GaussianNB")[0]["model"]
        for batch_rows in (300, 4000)
    )
    np.testing.assert_allclose(small.theta_, large.theta_, atol=1e-9)
    np.testing.assert_allclose(small.var_, large.var_, rtol=1e-9)


def test_the_error_of_an_estimator_that_refuses_the_data_has_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="SGDClassifier could not be fitted: class_weight 'balanced' is not"
    ) as caught:
        fitted(file_of(numbers(), tmp_path), params={"class_weight": "balanced"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("sklearn.linear_model.Perceptron", {}),
        ("sklearn.naive_bayes.GaussianNB", {}),
        ("sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": [8]}),
        ("sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": [8], "solver": "sgd"}),
    ],
)
def test_a_model_fitted_in_batches_is_packaged_and_exported(
    tmp_path: Path, estimator: str, params: dict[str, Any]
) -> None:
    file = file_of(mixed().drop(columns="far"), tmp_path)  # which is beyond the single precision of ONNX
    parts = ingest(file.config, SPLIT, "classification", SEED)
    model, seen = fitted(file, estimator=estimator, params=params)
    folder = tmp_path / "package"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        digest, manifest = write_package(folder, model, parts.train.head(500), parts.schema, TrainingRows.of(seen))
    assert manifest.onnx.exported, manifest.onnx.reason
    package = load_package(folder, digest)
    verify_package(package)
    assert len(package.training_rows) == len(np.unique(seen.ids)) == parts.n_train


def batched_config(*overrides: str) -> TrainingConfig:
    dataset = "dataset={source: parquet, path: rows.parquet, target: kind, batch_rows: 200000}"
    return load_config(CONFIGS / "baseline.yaml", [dataset, f"train={{estimator: {SGD}}}", *overrides])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("embed.scaler=robust", "dataset.batch_rows: embed.scaler: robust needs all rows at once"),
        ("train.mode=warm_start", "dataset.batch_rows: train.mode: warm_start needs all rows at once"),
        ("dataset.time=when", "time: rows cannot be put into order batch by batch"),
        ("dataset.columns={note: {type: text}}", "dataset.columns.note.type: text needs all rows at once"),
        ("dataset.batch_rows=10", "greater than or equal to 100"),
    ],
)
def test_a_config_that_needs_all_rows_at_once_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        batched_config(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_continuous_training_does_not_go_in_batches() -> None:
    dataset = "dataset={source: parquet, path: rows.parquet, target: kind, batch_rows: 200000}"
    with pytest.raises(ConfigError, match="dataset.batch_rows: pipeline: continuous_training needs all rows at once"):
        load_config(CONFIGS / "continuous_training.yaml", [dataset])


def test_epochs_are_refused_without_batches() -> None:
    assert batched_config("train.epochs=3").train.epochs == 3
    with pytest.raises(ConfigError, match="train.epochs: more than one pass needs dataset.batch_rows"):
        load_config(CONFIGS / "baseline.yaml", ["train.epochs=3"])


@pytest.mark.parametrize(
    ("estimator", "params"),
    [("sklearn.svm.SVC", {}), ("sklearn.neural_network.MLPClassifier", {"solver": "lbfgs"})],
)
def test_an_estimator_without_partial_fit_is_refused(estimator: str, params: dict[str, Any]) -> None:
    made = build_estimator(Train(estimator=estimator, params=params), "classification", SEED)
    with pytest.raises(ConfigError, match=f"dataset.batch_rows: {estimator} has no partial_fit"):
        require_partial_fit(made, estimator)
