from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.config import Drift
from ratchet.data.schema import Field, Schema
from ratchet.model.package.histogram import Counts, count, count_categories, count_numbers, point_cuts
from ratchet.model.package.profile import Profile
from ratchet.model.package.profiling import profile_rows
from ratchet.monitoring.drift.report import compare, compare_batches, compare_parquet
from tests.conftest import ROOT

SCHEMA = Schema(
    features=(
        Field(name="age", type="number", nullable=True),
        Field(name="plan", type="category", nullable=True, categories=("basic", "pro")),
    ),
    target="left",
)
GENERATOR = np.random.default_rng(0)
PROFILE = profile_rows(
    pd.DataFrame({"age": GENERATOR.normal(size=300), "plan": GENERATOR.choice(["basic", "pro"], 300)}), SCHEMA
)
ROW = st.tuples(
    st.one_of(st.none(), st.floats(allow_nan=True), st.integers(-5, 5)),
    st.one_of(st.none(), st.sampled_from(["basic", "pro", "", *"abcdefghij"])),
)
ROWS = st.lists(ROW, max_size=30)


def counted(rows: list[Any], points: bool) -> Counts:
    frame = pd.DataFrame(rows, columns=["age", "plan"], dtype=object)
    return count(frame, PROFILE.features, points=points)


@given(ROWS, ROWS, ROWS, st.booleans())
def test_parts_add_up_to_the_whole_in_any_order_and_grouping(a: Any, b: Any, c: Any, points: bool) -> None:
    whole = counted(a + b + c, points)
    one, two, three = (counted(part, points) for part in (a, b, c))
    assert (one + two) + three == one + (two + three) == three + one + two == whole


@given(ROWS, st.booleans())
def test_every_row_is_counted_once(rows: Any, points: bool) -> None:
    counts = counted(rows, points)
    for column in counts.columns.values():
        assert sum(column.cells) + column.missing == counts.n_rows == len(rows)


@settings(max_examples=30)
@given(st.lists(st.floats(), max_size=50), st.lists(st.floats(-10, 10), min_size=1, max_size=300, unique=True))
def test_cells_are_those_of_a_binary_search(values: list[float], cuts: list[float]) -> None:
    array, edges = np.array(values), np.sort(cuts)
    present = array[~np.isnan(array)]
    expected = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    assert count_numbers(array, edges).cells == tuple(expected)


@pytest.mark.parametrize("rows", [1, 2**16, 2**16 + 1, 200_000])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, lambda values: np.stack([values] * 3, axis=1)[:, 1]])
def test_chunks_and_strides_make_no_difference(rows: int, layout: Any) -> None:
    values: npt.NDArray[np.float64] = GENERATOR.normal(size=rows)
    for cuts in (np.array([-1.0, 0, 1]), np.linspace(-3, 3, 400)):
        expected = np.bincount(np.searchsorted(cuts, values, side="right"), minlength=len(cuts) + 1)
        assert count_numbers(layout(values), cuts).cells == tuple(expected)


@pytest.mark.parametrize("spread", [5e-324, 1e-300, 1.0, 1e308])
def test_many_rows_and_cuts_are_counted_exactly_whatever_their_scale(spread: float) -> None:
    at = np.unique(GENERATOR.normal(size=500).clip(-1.7, 1.7) * spread)
    cuts = np.unique(np.concatenate([point_cuts(at.tolist()), spread * np.linspace(-1.7, 1.7, 100)]))
    values = np.concatenate([GENERATOR.choice(cuts, 20_000), GENERATOR.uniform(-1.7, 1.7, 20_000) * spread])
    values[:4] = [np.inf, -np.inf, np.nan, 1.7e308]
    present = values[~np.isnan(values)]
    expected = np.bincount(np.searchsorted(cuts, present, side="right"), minlength=len(cuts) + 1)
    assert count_numbers(values, cuts).cells == tuple(expected)


def test_points_and_the_gaps_between_them_have_cells() -> None:
    counts = count_numbers(np.array([0.0, 1, 1, 1.5, 2, 3]), point_cuts([1.0, 2.0]))
    assert counts.cells == (1, 2, 1, 1, 1)
    assert (counts.low, counts.high) == (0, 3)


def test_the_first_five_unseen_names_are_kept_and_all_their_rows_counted() -> None:
    many = [f"n{i:04d}" for i in range(1000)]
    parts = [count_categories(pd.Series(many[at::4]), ["basic"]) for at in range(4)]
    whole = parts[3] + parts[1] + parts[0] + parts[2]
    assert whole.cells == (0, 1000)
    assert dict(whole.unseen) == dict.fromkeys(many[:5], 1)


@pytest.mark.parametrize("values", [[1, 2, None], [1.0, 2.0, np.nan], ["1", "2", None]])
def test_a_number_may_come_in_any_form(values: list[Any]) -> None:
    for frame in (pd.DataFrame({"age": values, "plan": "pro"}), pd.DataFrame({"age": pd.array(values), "plan": "pro"})):
        counts = count(frame, PROFILE.features)
        assert (counts.columns["age"].missing, sum(counts.columns["age"].cells)) == (1, 2)


def test_the_empty_text_is_a_gap_unless_training_knew_it() -> None:
    values = pd.Series(["", "pro", None])
    assert count_categories(values, ["pro"]).missing == 2
    assert count_categories(values, ["", "pro"]).missing == 1


@pytest.mark.parametrize("method", ["psi", "ks"])
def test_batches_and_a_file_give_the_report_of_the_whole(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.DataFrame({"age": GENERATOR.normal(0.3, size=1000), "plan": GENERATOR.choice(["pro", "new", None], 1000)})
    rows["no feature"] = 1
    config = Drift.model_validate({"method": method})
    whole = compare(rows, PROFILE, config, "1")
    assert whole.n_rows == 1000
    assert compare_batches((rows[at : at + 300] for at in range(0, 1000, 300)), PROFILE, config, "1") == whole
    rows.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr("ratchet.monitoring.drift.report._BATCH_ROWS", 128)
    assert compare_parquet(tmp_path / "rows.parquet", PROFILE, config, "1") == whole
    assert compare_parquet(tmp_path / "rows.parquet", None, config, None).summary == "no reference yet"


def test_no_batch_at_all_is_an_empty_window() -> None:
    report = compare_batches([], PROFILE, Drift(), "1")
    assert report.notes == ("too few rows: the window has 0, 20 are required; nothing was compared",)
    assert not report.detected
    assert report.model_dump()["figures"] == {}


def test_a_feature_that_a_file_lacks_is_noted(tmp_path: Path) -> None:
    pd.DataFrame({"age": np.zeros(20)}).to_parquet(tmp_path / "rows.parquet")
    report = compare_parquet(tmp_path / "rows.parquet", PROFILE, Drift(), "1")
    assert "plan: absent, or not of type category; not compared" in report.notes


def test_a_profile_of_no_rows_gives_no_figures() -> None:
    empty: Profile = profile_rows(pd.DataFrame({"age": [], "plan": []}), SCHEMA)
    rows = pd.DataFrame({"age": np.zeros(20), "plan": "pro"})
    assert compare(rows, empty, Drift(), "1").figures == {}


def test_the_example_of_the_reference_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "reference" / "drift.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("package").mkdir()
    Path("package/profile.json").write_text(PROFILE.model_dump_json())
    pd.DataFrame({"age": GENERATOR.normal(9, size=200), "plan": "new"}).to_parquet("rows.parquet")
    exec(example)
    assert capsys.readouterr().out.splitlines() == [
        "drift against version 3: 2 of 2 features drifted",
        "plan: 200 rows with categories never seen ('new')",
    ]
