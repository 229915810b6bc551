"""Which held-out rows a model was fitted on: by place in a data version, by prediction, and by content."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.stats import binom

from ratchet.config import Split
from ratchet.config.files import parse_config
from ratchet.data import row_hashes
from ratchet.data.row_identities import RowIdentities, contents_of, data_source, identify, prediction_ids
from ratchet.data.schema import Field, Schema
from ratchet.data.training_rows import TrainingRows
from ratchet.model.tasks import TASKS
from tests.fitted import baseline

N_ROWS = 5000
SPLIT = Split()
Parts = tuple[pd.DataFrame, pd.DataFrame, RowIdentities, RowIdentities]


def survey(n_columns: int, share: float, seed: int = 0) -> pd.DataFrame:
    """Yes/no answers, most of them no, and a decision that follows from the first two but for 6.7 %."""
    generator = np.random.default_rng(seed)
    answers = generator.random((N_ROWS, n_columns)) < share
    right = answers[:, 0] | answers[:, 1]
    wrong = generator.random(N_ROWS) < 0.067
    frame = pd.DataFrame({f"q{at}": np.where(answers[:, at], "yes", "no") for at in range(n_columns)}, dtype=object)
    return frame.assign(decision=np.where(right ^ wrong, "yes", "no").astype(object), right=right)


def split(frame: pd.DataFrame, version: str, seed: int = 1) -> Parts:
    """Training rows and holdout of a data version, with their identities."""
    fields = tuple(Field(name=name, type="category", nullable=False) for name in frame.columns.drop("decision"))
    schema = Schema(features=fields, target="decision", labels=("no", "yes"))
    train, holdout = TASKS["classification"].split_places(frame, schema, SPLIT, seed)
    return train, holdout, *(identify(rows, "decision", version, rows.index) for rows in (train, holdout))


def test_all_held_out_rows_of_the_same_version_split_and_seed_are_new_however_often_they_occur() -> None:
    train, holdout, fitted, held = split(survey(8, 0.03), "v1")
    assert np.isin(row_hashes(holdout), row_hashes(train)).mean() > 0.9, "nearly all have an equal training row"
    assert not TrainingRows.of(fitted).contains(held, holdout).any()


def test_with_another_seed_a_row_is_known_by_its_place_and_not_by_its_content() -> None:
    frame = survey(4, 0.3)
    _, _, fitted, _ = split(frame, "v1", seed=1)
    _, holdout, _, held = split(frame, "v1", seed=2)
    seen = TrainingRows.of(fitted).contains(held, holdout)
    assert binom.ppf(0.001, len(seen), 0.8) <= seen.sum() <= binom.ppf(0.999, len(seen), 0.8)


@pytest.mark.parametrize(("n_columns", "share"), [(8, 0.03), (4, 0.3)], ids=["rare-answers", "few-combinations"])
@pytest.mark.parametrize("version", ["v1", "v2"], ids=["the-same-version", "a-grown-file"])
def test_wrong_labels_are_not_concentrated_among_the_rows_that_are_new(
    n_columns: int, share: float, version: str
) -> None:
    """A champion that answers right is judged as good as it is: 0.933, since 6.7 % of the labels are wrong."""
    frame = survey(n_columns, share)
    _, _, fitted, _ = split(frame, "v1")
    grown = frame if version == "v1" else pd.concat([frame, survey(n_columns, share, seed=1).head(50)])
    _, holdout, mine, held = split(grown, version)
    seen = TrainingRows.of(fitted).contains(held, holdout, mine.contents, seed=3)
    judged = (holdout["right"] == (holdout["decision"] == "yes"))[~seen]
    assert len(judged) == 1000 if version == "v1" else len(judged) > 100
    assert binom.ppf(0.0005, len(judged), 0.933) <= judged.sum() <= binom.ppf(0.9995, len(judged), 0.933)
    combinations = holdout["right"].mean()
    assert abs(holdout["right"][~seen].mean() - combinations) < 4 * np.sqrt(0.25 / len(judged)), "nor some answers"


def frame_of(features: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"x": features, "y": "a"})


def seen_in(
    holdout: pd.DataFrame, fitted: pd.DataFrame, others: pd.DataFrame | None = None, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """What a model fitted on one data version knows of another."""
    model = TrainingRows.of(identify(fitted, "y", "v1", np.arange(len(fitted))))
    held = identify(holdout, "y", "v2", np.arange(len(holdout)))
    rest = contents_of(frame_of([]) if others is None else others, "y")
    return model.contains(held, holdout, rest, seed)


def test_between_versions_training_rows_and_equal_held_out_rows_are_matched_one_to_one() -> None:
    holdout = frame_of(["a", "a", "a", "b", "c"])
    seen = seen_in(holdout, frame_of(["a", "a", "b", "b", "b", "d"]))
    assert Counter(holdout["x"][seen]) == {"a": 2, "b": 1}


def test_between_versions_a_training_row_is_matched_with_any_of_the_equal_rows_of_the_file() -> None:
    """8 of 10 equal rows were fitted: of the 2 that are held out, 1.6 on average."""
    seen = [
        seen_in(frame_of(["a"] * 2), frame_of(["a"] * 8), frame_of(["a"] * 8), seed=seed).sum() for seed in range(100)
    ]
    assert np.mean(seen) == pytest.approx(1.6, abs=0.2)
    assert seen_in(frame_of(["a"]), frame_of(["a"]), frame_of(["b"])).all(), "a row that occurs once"


def test_a_corrected_label_does_not_make_a_fitted_row_new() -> None:
    fitted = frame_of(["a", "b", "c"])
    corrected = fitted.assign(y=["a", "other", "a"])
    assert seen_in(corrected, fitted).all()


def test_production_rows_are_known_by_their_prediction_and_never_by_content() -> None:
    rows = frame_of(["a", "a", "b"])
    contents = contents_of(rows, "y")
    reference = identify(rows, "y", "v1", np.arange(3))

    def with_production(ids: list[str]) -> RowIdentities:
        return RowIdentities(
            "v1", np.append(reference.ids[:1], prediction_ids(ids)), np.append(contents[:1], contents[:2]), 1
        )

    model = TrainingRows.of(with_production(["p1", "batch#0"]))
    held = with_production(["batch#0", "batch#1"])
    assert model.contains(held, rows).tolist() == [True, True, False]


def test_rows_of_an_earlier_run_stay_known_after_a_warm_start() -> None:
    first = identify(frame_of(["a", "b"]), "y", "v1", np.arange(2))
    second = identify(frame_of(["c"]), "y", "v2", np.arange(1))
    both = TrainingRows.of(second, TrainingRows.of(first))
    assert both.contains(first, frame_of(["a", "b"])).all()
    assert both.contains(identify(frame_of(["b"]), "y", "v3", np.arange(1)), frame_of(["b"])).all(), "by content too"
    assert (both.n_new, both.n_data, len(both)) == (1, 1, 3)


def test_a_package_without_identities_is_compared_by_contents_and_labels(tmp_path: Path) -> None:
    rows = frame_of(["a", "a", "b"])
    np.save(tmp_path / "training_rows.npy", np.sort(row_hashes(rows)))
    old = TrainingRows.load(tmp_path)
    assert (len(old), old.has_identities) == (3, False)
    holdout = frame_of(["a", "a", "a", "c"])
    seen = old.contains(identify(holdout, "y", "v1", np.arange(4)), holdout)
    assert Counter(holdout["x"][seen]) == {"a": 2}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    rows = TrainingRows.of(identify(frame_of(["a", "b"]), "y", "v1", np.arange(2)))
    rows.save(tmp_path)
    again = TrainingRows.load(tmp_path)
    assert (again.sources, again.n_data, again.n_new) == (rows.sources, 2, 2)
    assert np.array_equal(again.ids, rows.ids)
    assert np.array_equal(again.contents, rows.contents)


def test_the_source_names_what_decides_the_order_of_rows() -> None:
    config = baseline().config
    assert data_source(config.dataset, "v1") == "v1"
    dataset = {"source": "csv", "path": "x.csv", "target": "y", "time": "at"}
    ordered = parse_config({**config.model_dump(mode="json"), "dataset": dataset})
    assert data_source(ordered.dataset, "v1") == 'v1 {"time": "at"}'
