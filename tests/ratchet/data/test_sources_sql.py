from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.config import SqlDataset
from ratchet.data import dataset_version, load_dataset, open_source
from ratchet.data.fingerprint import canonical_csv
from ratchet.errors import ConfigError, DataError, UnavailableError
from tests.conftest import new_database

QUERY = "SELECT id, size, kind FROM things ORDER BY id"
THINGS = pd.DataFrame({"id": [1, 2, 3], "size": [1.5, None, 3.5], "kind": ["a", "b%", "a"]})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a table of three things."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path_factory.mktemp('sql')}/things.db"
    else:
        made = new_database(request.getfixturevalue("postgres"), "things")
    engine = sa.create_engine(made)
    THINGS.to_sql("things", engine, index=False)
    engine.dispose()
    return made


def dataset(url: str | None, query: str = QUERY, **keys: Any) -> SqlDataset:
    return SqlDataset(source="sql", url=url, query=query, target="kind", **keys)


def read(config: SqlDataset) -> pd.DataFrame:
    return open_source(config).read()


def test_a_query_returns_its_rows_and_their_hash(url: str) -> None:
    pd.testing.assert_frame_equal(read(dataset(url)), THINGS, check_dtype=False)
    expected = hashlib.md5(canonical_csv(read(dataset(url)))).hexdigest()
    assert dataset_version(dataset(url)) == expected


def test_rows_of_a_query_are_typed_and_checked(url: str) -> None:
    data = load_dataset(dataset(url, drop=("id",)), "classification")
    assert data.schema.labels == ("a", "b%")
    assert data.schema.features[0].nullable


def test_percent_signs_and_colons_are_not_parameters(url: str) -> None:
    assert (
        len(read(dataset(url, "SELECT id, kind FROM things WHERE kind LIKE '%\\%' ESCAPE '\\' OR kind = ' :b'"))) == 1
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM things WHERE id > 9", "dataset.query: returns no rows"),
        ("SELECT * FROM thinks", "thinks"),
        ("SELECT id, id FROM things", "returns two columns 'id'"),
        ("SELEKT 1", "SELEKT"),
    ],
)
def test_an_invalid_query_is_one_line(url: str, query: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(dataset(url, query))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("query", ["DELETE FROM things", "CREATE TABLE more (id INTEGER)", "BEGIN"])
def test_a_statement_that_writes_is_refused_and_changes_nothing(url: str, query: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.query"):
        read(dataset(url, query))
    assert len(read(dataset(url))) == 3


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no SQLite file"):
        read(dataset(f"sqlite:///{tmp_path}/none.db"))
    assert list(tmp_path.iterdir()) == []


def test_attach_creates_no_file(tmp_path: Path) -> None:
    made = tmp_path / "made.db"
    sa.create_engine(f"sqlite:///{tmp_path}/things.db").connect().close()
    (tmp_path / "things.db").touch()
    with pytest.raises(DataError, match=r"dataset\.query"):
        read(dataset(f"sqlite:///{tmp_path}/things.db", f"ATTACH '{made}' AS more"))
    assert not made.exists()


@pytest.mark.parametrize("url", ["me:secret@127.0.0.1:1/things", "127.0.0.1:1/things?user=me&password=secret"])
def test_an_unreachable_database_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("THINGS_URL", f"postgresql://{url}")
    with pytest.raises(UnavailableError) as caught:
        read(dataset(None, url_env="THINGS_URL"))
    assert "cannot be reached" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_url_may_be_in_a_variable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGS_URL", url)
    assert len(read(dataset(None, url_env="THINGS_URL"))) == 3
    monkeypatch.delenv("THINGS_URL")
    with pytest.raises(ConfigError, match="the variable THINGS_URL is not set"):
        read(dataset(None, url_env="THINGS_URL"))


@pytest.mark.parametrize("url", ["nodialect://host/x", "mysql+nodriver://host/x", "postgresql://me@host:port/x"])
def test_a_url_that_sqlalchemy_cannot_open_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.url: .* cannot be opened"):
        read(dataset(url))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "postgresql://me:secret@host/things"}, "url: has a password, and configs are logged"),
        ({"url": "postgresql://host/things?user=me&password=secret"}, "url: has a password"),
        ({"url": "mysql+pymysql://me@host/things?passwd=secret"}, "url: has a password"),
        ({"url": "postgresql://me@host/things?Password=secret"}, "url: has a password"),
        ({"url": "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret"}, "url: has a password"),
        ({"url": "things.db"}, "expected such as postgresql"),
        ({"url": "sqlite:///a.db", "url_env": "X"}, "expected either 'url' or 'url_env'"),
        ({}, "expected either 'url' or 'url_env'"),
    ],
)
def test_a_config_with_a_password_or_with_two_places_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SqlDataset(source="sql", query=QUERY, target="kind", **keys)


def test_whole_numbers_and_decimals_that_are_a_category_keep_their_digits(url: str) -> None:
    query = (
        "SELECT 1582218195625938946 AS id, 1 AS count, 'a' AS kind"
        " UNION ALL SELECT 1582218195625938945, 2, 'b' UNION ALL SELECT NULL, NULL, 'a' ORDER BY 2"
    )
    columns = {"id": {"type": "category"}, "count": {"type": "category"}}
    frame = load_dataset(dataset(url, query, columns=columns), "classification").frame
    assert set(frame["id"].fillna("").tolist()) == {"1582218195625938946", "1582218195625938945", ""}
    assert set(frame["count"].fillna("").tolist()) == {"1", "2", ""}
    undeclared = read(dataset(url, query))
    assert undeclared["id"].dropna().tolist() != undeclared["id"].dropna().astype(float).astype(int).tolist()
