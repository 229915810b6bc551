"""A first config for a file: what init decides from the file, and the files that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ratchet.config.files import load_config, parse_config
from ratchet.data import load_dataset
from ratchet.data.batches import ingest
from ratchet.errors import ConfigError, DataError, RatchetError, StateError
from ratchet.experiments.first_config import memory, written_files
from ratchet.experiments.first_config.decide import FirstConfig, first_config, model_name
from ratchet.experiments.first_config.file_sample import MOST_BYTES, open_sample
from ratchet.experiments.first_config.written_files import free_folder, write_files
from tests.conftest import ROOT

CASES = ROOT / "tests" / "cases"
N = 300
RATINGS = {"userId": 30, "movieId": 40, "rating": 6}


def decided(path: Path, target: str | None = "y", task: str | None = None) -> FirstConfig:
    with first_config(path, target, "m", task) as first:
        return first


def write(folder: Path, frame: pd.DataFrame, name: str = "data.csv", **options: Any) -> Path:
    path = folder / name
    frame.to_csv(path, index=False, **options)
    return path


def table(**columns: Any) -> pd.DataFrame:
    """A number, a class that depends on it, and further columns."""
    draws = np.random.default_rng(1)
    size = draws.normal(size=N).round(3)
    labels = np.where(size + draws.normal(size=N) > 0, "yes", "no")
    return pd.DataFrame({"size": size, **columns, "y": labels})


def section(first: FirstConfig, *keys: str) -> dict[str, Any]:
    """The section ``dataset`` without source, path and target; or some of its keys."""
    found = first.sections["dataset"]
    return {key: found.get(key) for key in keys} if keys else {key: found[key] for key in list(found)[3:]}


CASE_SECTIONS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("zips", "claim", "classification", {"positive": "yes", "columns": {"zip": {"type": "category"}}}),
    ("releases", "state", "classification", {"positive": "works", "columns": {"release": {"type": "category"}}}),
    ("devices", "fault", "classification", {"positive": 1, "columns": {"device": {"type": "category"}}}),
    ("countries", "outcome", "classification", {"positive": "buys"}),
    ("disorders", "disorder", "classification", {}),
    ("names", "buys", "classification", {"positive": "yes"}),
    ("names_reserved", "buys", "classification", {"positive": "yes"}),
    ("names_twins", "y", "classification", {"positive": "yes"}),
    ("numbered", "animal", "classification", {"positive": "cat", "drop": [""]}),
    ("survey", "decision", "classification", {"positive": "leaves"}),
    ("costs", "late", "classification", {"positive": 1}),
    (
        "stores",
        "sales",
        "forecasting",
        {
            "time": "day",
            "group": "store",
            "window": {"lags": {"sales": [1, 2, 3, 7]}, "horizon": 1},
            "fill": "drop",
        },
    ),
    (
        "gaps",
        "load",
        "forecasting",
        {"time": "hour", "window": {"lags": {"load": [1, 2, 3, 24]}, "horizon": 1}, "fill": "drop"},
    ),
]


@pytest.mark.parametrize(("name", "target", "task", "expected"), CASE_SECTIONS, ids=lambda value: str(value)[:14])
def test_a_case_gets_the_section_that_its_readme_asks_for(
    name: str, target: str, task: str, expected: dict[str, Any]
) -> None:
    first = decided(CASES / f"{name}.csv", target)
    assert (first.sections["task"], section(first)) == (task, expected)


def test_decimal_commas_and_semicolons_are_found() -> None:
    first = decided(CASES / "decimals.csv", "clase")
    assert section(first, "separator", "decimal", "columns") == {"separator": ";", "decimal": ",", "columns": None}
    assert [field.type for field in first.data.schema.features] == ["number", "number"]


def frames() -> dict[str, tuple[pd.DataFrame, str | None]]:
    """Files of each kind, with the task that is asked for."""
    draws = np.random.default_rng(2)
    stamps = pd.date_range("2025-01-01", periods=N, freq="h")
    words = ["good", "bad", "film", "plot", "actor", "boring", "great", "slow"]
    return {
        "ids": (table(customer_id=range(9000, 9000 + N), mail=[f"u{n}@x.org" for n in range(N)]), None),
        "constant": (table(const=1, empty=np.nan), None),
        "words": (table(score=np.where(draws.random(N) < 0.1, "NA", draws.normal(size=N).round(2).astype(str))), None),
        "thousands": (table(income=[f"{value:,.2f}" for value in draws.normal(4e4, 9e3, N)]), None),
        "sentinel": (table(age=np.where(draws.random(N) < 0.2, -999, draws.integers(0, 50, N))), None),
        "dates": (table(joined=stamps.strftime("%d/%m/%Y")), None),
        "leak": (table(leak=table()["y"].map({"yes": "Y", "no": "N"})), None),
        "texts": (table(review=[" ".join(draws.choice(words, 8)) for _ in range(N)]), None),
        "times": (table(at=stamps.strftime("%Y-%m-%d %H:%M")), None),
        "number": (table().drop(columns="y").assign(y=draws.normal(size=N).round(4)), None),
        "series": (pd.DataFrame({"at": stamps.strftime("%Y-%m-%dT%H:%M"), "y": draws.normal(size=N).round(3)}), None),
        "anomalies": (table().assign(y=np.where(draws.random(N) < 0.05, "odd", "usual")), "anomaly_detection"),
        "ratings": (
            pd.DataFrame(
                {
                    "userId": draws.integers(0, 30, N),
                    "movieId": draws.integers(0, 40, N),
                    "rating": draws.integers(1, 6, N),
                }
            ).rename(columns={"rating": "rating_y"}),
            None,
        ),
    }


@pytest.mark.parametrize("kind", frames())
def test_a_run_has_no_warning_about_columns_after_init(kind: str, tmp_path: Path) -> None:
    frame, task = frames()[kind]
    first = decided(write(tmp_path, frame), str(frame.columns[-1]), task)
    config = parse_config(dict(first.sections))
    data = load_dataset(config.dataset, config.task)
    assert [warning for warning in data.warnings if warning.column is not None] == []
    assert len(first.recipes) == 3


EXPECTED: list[tuple[str, dict[str, Any]]] = [
    ("ids", {"drop": ["customer_id", "mail"]}),
    ("constant", {"drop": ["empty", "const"]}),
    ("words", {"columns": {"score": {"missing": ["NA"]}}}),
    ("thousands", {"columns": {"income": {"type": "number", "thousands": ","}}}),
    ("sentinel", {"columns": {"age": {"missing": ["-999"]}}}),
    ("dates", {"drop": ["joined"]}),
    ("leak", {"drop": ["leak"]}),
    ("texts", {"columns": {"review": {"type": "text"}}}),
    ("times", {"time": "at"}),
    ("number", {}),
    ("series", {"time": "at", "window": {"lags": {"y": [1, 2, 3, 24]}, "horizon": 1}}),
    ("ratings", {"columns": {"userId": {"type": "category"}, "movieId": {"type": "category"}}}),
]


@pytest.mark.parametrize(("kind", "expected"), EXPECTED)
def test_each_suspicion_becomes_a_line_of_the_config(kind: str, expected: dict[str, Any], tmp_path: Path) -> None:
    frame, task = frames()[kind]
    found = section(decided(write(tmp_path, frame), str(frame.columns[-1]), task))
    found.pop("positive", None)
    found = {key: yaml.safe_load(yaml.safe_dump(value)) for key, value in found.items()}
    if kind == "thousands":
        found["columns"]["income"].pop("decimal", None)
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "task", "metric"),
    [
        ("ids", "classification", "roc_auc"),
        ("number", "regression", "rmse"),
        ("series", "forecasting", "mae"),
        ("ratings", "recommendation", "rmse"),
        ("anomalies", "anomaly_detection", "average_precision"),
    ],
)
def test_the_target_decides_on_task_and_metric(kind: str, task: str, metric: str, tmp_path: Path) -> None:
    frame, wanted = frames()[kind]
    first = decided(write(tmp_path, frame), str(frame.columns[-1]), wanted)
    assert (first.sections["task"], first.sections["evaluate"]["primary_metric"]) == (task, metric)


def test_a_rare_class_is_positive_weighted_and_measured_alone(tmp_path: Path) -> None:
    frame = table().assign(y=["rare"] * 12 + ["usual"] * (N - 12))
    first = decided(write(tmp_path, frame.sample(frac=1, random_state=0)))
    assert section(first, "positive") == {"positive": "rare"}
    assert first.sections["evaluate"] == {"primary_metric": "average_precision"}
    assert first.sections["train"]["params"]["class_weight"] == "balanced"


def test_rows_of_a_group_are_warned_of(tmp_path: Path) -> None:
    first = decided(write(tmp_path, table(patient_id=[n // 3 for n in range(N)])))
    assert section(first, "drop") == {"drop": ["patient_id"]}
    assert any("'patient_id'" in warning and "holdout" in warning for warning in first.warnings)


def test_a_date_of_birth_is_no_time_and_the_time_of_an_event_is(tmp_path: Path) -> None:
    dates = pd.Series(pd.date_range("1970-01-01", periods=N).strftime("%Y-%m-%d")).sample(frac=1, random_state=0)
    births = dates.reset_index(drop=True)
    first = decided(write(tmp_path, table(birth_date=births, order_date=births)))
    assert section(first, "time", "drop") == {"time": "order_date", "drop": ["birth_date"]}


def test_a_time_that_parts_the_classes_is_left_out(tmp_path: Path) -> None:
    frame = table(at=pd.date_range("2025-01-01", periods=N).strftime("%Y-%m-%d"))
    first = decided(write(tmp_path, frame.assign(y=["a"] * 270 + ["b"] * 30)))
    assert section(first, "time", "drop") == {"time": None, "drop": ["at"]}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_an_encoding_is_found(encoding: str, tmp_path: Path) -> None:
    frame = table(city=["Köln", "Zürich", "Nîmes"] * 100)
    first = decided(write(tmp_path, frame, encoding=encoding))
    assert section(first, "encoding") == {"encoding": encoding}
    assert "Köln" in set(first.data.frame["city"])


@pytest.mark.parametrize(("name", "separator"), [("data.tsv", "\t"), ("data.csv", "\t"), ("data.csv", "|")])
def test_a_separator_is_found(name: str, separator: str, tmp_path: Path) -> None:
    first = decided(write(tmp_path, table(a=1.5), name, sep=separator))
    assert first.data.schema.feature_names == ["size"]


REFUSED: dict[str, tuple[str, str | None, str]] = {
    "no header": ("5.1,3.5,a\n4.9,3.1,b\n" * 20, "kind", "has no header"),
    "no header, the target is a value": ("5.1,3.5,a\n4.9,3.1,b\n" * 20, "a", "has no header"),
    "no header, text alone": ("x,u,a\ny,v,b\n" * 20, "y", "has no header"),
    "one column": ("y\n" + "1\n2\n" * 20, "y", "has one column"),
    "no target": ("a,y\n" + "1,u\n2,v\n" * 20, None, "--target is missing"),
    "unknown target": ("a,label\n" + "1,u\n2,v\n" * 20, "lable", "did you mean 'label'"),
    "one class": ("a,y\n" + "1,u\n2,u\n" * 20, "y", "only one class"),
    "one value": ("a,y\n" + "1,0.5\n2,0.5\n" * 20, "y", "one value"),
    "class of one row": ("a,y\n" + "1,u\n" * 30 + "2,v\n", "y", "the class 'v' has one row"),
    "many classes": ("a,y\n" + "".join(f"{n % 7},c{n % 20}\n" for n in range(60)), "y", "has 20 classes in 60 rows"),
    "missing target": ("a,y\n" + "1,u\n2,v\n" * 20 + "3,\n", "y", "is missing in row 41 (1 such)"),
    "word": ("a,y\n" + "1,u\n2,v\n" * 20 + "about 3,u\n", "y", "expected a number, got 'about 3' in row 41"),
    "few rows": ("a,y\n1,u\n2,v\n", "y", "has 2 rows"),
    "no rows": ("a,y\n", "y", "no rows"),
    "empty": ("", "y", "is empty"),
    "ragged": ("a,y\n" + "1,u\n" * 30 + "1,u,3\n", "y", "line 32: expected 2 fields"),
    "twins": ("a,a,y\n" + "1,2,u\n" * 30, "y", "2 times in the header"),
    "blank": ("a, y\n" + "1,u\n" * 30, "y", "begins or ends with a blank"),
    "no feature": ("id,y\n" + "".join(f"{n},{'uv'[n % 2]}\n" for n in range(30)), "y", "no column is left"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_no_model_can_be_trained_on_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    text, target, message = REFUSED[kind]
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(RatchetError) as refused:
        decided(path, target)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "target"), [("2019,2020,2021,left", "left"), ("0,1,2,label", "label"), ("a,b,c,spam", "spam")]
)
def test_a_header_of_numbers_or_with_the_name_of_a_class_is_one(header: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"{header}\n" + "1.5,2.5,3.5,spam\n4.5,3.0,1.5,ham\n2.5,0.5,1.0,ham\n" * 20)
    assert decided(path, target).data.schema.feature_names == header.split(",")[:3]


@pytest.mark.parametrize("name", ["data.xlsx", "nothere.csv", "folder.csv", "noise.csv", "noise.parquet"])
def test_a_path_that_is_no_table_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for noise in ("data.xlsx", "noise.csv", "noise.parquet"):
        (tmp_path / noise).write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError, match=name):
        decided(tmp_path / name)


@pytest.mark.parametrize(
    ("task", "message"),
    [("forcasting", "did you mean 'forecasting'"), ("forecasting", "no column of times"), ("regression", "a number")],
)
def test_a_task_that_does_not_fit_is_refused(task: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RatchetError, match=message):
        decided(write(tmp_path, table()), task=task)


def bytes_read() -> int:
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 10 GB that takes little of the disk: rows at its head and its end, which has the other class."""
    path = tmp_path_factory.mktemp("huge") / "huge.csv"
    rows = [f"{n % 97}.5,{n % 7}" for n in range(700_000)]
    with path.open("wb") as file:
        file.write(b"a,b,y\n" + "".join(f"{row},early\n" for row in rows).encode())
        tail = "".join(f"{row},late\n" for row in rows[:80_000]).encode()
        file.seek(10 * 2**30 - len(tail) - 1)
        file.write(b"\n" + tail)
    assert path.stat().st_size == 10 * 2**30
    return path


def test_ten_gigabytes_are_looked_at_without_being_read(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**50)
    before = bytes_read()
    first = decided(huge)
    assert bytes_read() - before < 20 * MOST_BYTES
    assert set(first.goal.shares) == {"early", "late"}
    assert not first.sample.complete
    assert first.n_rows > 100_000_000
    assert len(first.data.frame) * 20 < 2 * MOST_BYTES


def test_a_csv_that_does_not_fit_into_memory_is_refused_with_what_to_do(
    huge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 8 * 10**9)
    with pytest.raises(DataError, match=r"this machine has 8 GB: write it as Parquet"):
        decided(huge)


def test_a_parquet_file_that_does_not_fit_into_memory_is_read_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.parquet"
    draws = np.random.default_rng(0)
    size = draws.normal(size=60_000)
    frame = pd.DataFrame({"size": size, "y": np.where(size + draws.normal(size=60_000) > 0, "yes", "no")})
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=5000)
    monkeypatch.setattr(memory, "machine_memory", lambda: 10**6)
    first = decided(path)
    assert first.n_rows == 60_000
    assert first.sections["dataset"]["batch_rows"] > 0
    for recipe in first.recipes:
        config = parse_config(first.config(recipe))
        assert ingest(config.dataset, config.split, config.task, config.seed).n_train > 40_000


def test_a_row_number_of_a_sample_is_not_given_as_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("a,y\n" + "1.5,u\n2.5,v\n" * (MOST_BYTES // 12) + "about 3,u\n" * 10)
    with pytest.raises(DataError, match=r"row \d+ .*counted in the part of the file"):
        decided(path)


def test_pieces_that_begin_within_quotation_marks_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "quoted.csv"
    line = '1.5,"' + "a\nb,c\n" * 150_000 + '",u\n'
    path.write_text("n,text,y\n" + '2.5,"x",v\n1.5,"z",u\n' * 230_000 + line * 6)
    assert path.stat().st_size > MOST_BYTES
    with open_sample(path) as sample:
        assert sample.header == ["n", "text", "y"]
        assert sample.rows_at.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("churn.csv", "churn"),
        ("My data (2).csv", "my_data_2"),
        ("2024 sales.csv", "model_2024_sales"),
        ("été.csv", "ete"),
    ],
)
def test_a_model_is_named_after_the_file(path: str, name: str) -> None:
    assert model_name(Path(path), None) == name


@pytest.mark.parametrize("name", ["../x", "a/b", "1a", "", "a b", "x\n"])
def test_a_name_that_is_no_name_of_a_model_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        model_name(Path("data.csv"), name)


def test_the_files_are_those_that_a_run_reads_and_hold_no_values_of_ids(tmp_path: Path) -> None:
    frame, _ = frames()["ids"]
    first = decided(write(tmp_path, frame))
    names = write_files(first, tmp_path / "configs" / "m")
    assert len(names) == 4
    for name in names:
        text = (tmp_path / "configs" / "m" / name).read_text()
        assert "@x.org" not in text
        if name.endswith(".yaml"):
            assert load_config(tmp_path / "configs" / "m" / name).model == "m"
    baseline = (tmp_path / "configs" / "m" / names[0]).read_text()
    assert "# 'mail': has another text in each row" in baseline


@pytest.mark.parametrize("name", ["a\nmodel: other", "a: b", "#", "'", '"', "yes", "1e-3", "|", "a\u2028x", "- a"])
def test_a_name_of_a_column_is_no_yaml(name: str, tmp_path: Path) -> None:
    frame = table(**{name: range(N), "zip": ["01234", "00501", "10001"] * 100})
    path = tmp_path / "data.parquet"
    frame.to_parquet(path)
    first = decided(path)
    write_files(first, tmp_path / "configs")
    config = load_config(tmp_path / "configs" / "baseline.yaml")
    assert (config.model, config.dataset.drop) == ("m", (name,))


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_init_leaves_no_file(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decided(write(tmp_path, table()))

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(written_files, "load_config", fail)
    with pytest.raises((StateError, KeyboardInterrupt)):
        write_files(first, tmp_path / "configs" / "m")
    assert list((tmp_path / "configs").iterdir()) == []


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    for name in ("m", "m_2"):
        (tmp_path / "configs" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match="--name m_3"):
        free_folder(tmp_path / "configs", "m")


def test_the_name_of_a_config_file_is_refused_since_the_printed_command_would_run_that_file(tmp_path: Path) -> None:
    for name in ("m.yaml", "m_2.yaml"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"/m.yaml exists, and --config m reads that file: .* --name m_3$"):
        free_folder(tmp_path, "m")
    assert free_folder(tmp_path, "n") == tmp_path / "n"
