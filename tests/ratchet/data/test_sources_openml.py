from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.datasets import _openml

from ratchet.config import OpenmlDataset
from ratchet.data import check_frame
from ratchet.data.sources import openml
from ratchet.data.sources.openml import OpenmlSource
from ratchet.errors import DataError, UnavailableError
from tests.web_server import Site, serving

ARFF = """@RELATION things
@ATTRIBUTE id INTEGER
@ATTRIBUTE size REAL
@ATTRIBUTE colour {red,blue}
@ATTRIBUTE kind {a,b}
@DATA
1,1.5,red,a
2,?,blue,b
3,3.5,red,a
"""


@pytest.fixture(autouse=True)
def _own_downloads_without_delay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_DOWNLOADS_DIR", str(tmp_path))
    monkeypatch.setattr(openml, "_RETRY_DELAY", 0.01)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with OpenML's API for one data set: number 7, things, version 2."""
    with serving() as site:
        for name in ("_SEARCH_NAME", "_DATA_INFO", "_DATA_FEATURES", "_DATA_QUALITIES"):
            monkeypatch.setattr(_openml, name, getattr(_openml, name).replace("https://www.openml.org", site.url))
        api = "/api/v1/json/data"
        info = {
            "id": "7", "name": "things", "version": "2", "format": "ARFF", "status": "active", "description": "of ours",
            "url": f"{site.url}/data/v1/download/70/things.arff", "file_id": "70",
            "md5_checksum": hashlib.md5(ARFF.encode()).hexdigest(),
        }  # fmt: skip
        kinds = {"id": "numeric", "size": "numeric", "colour": "nominal", "kind": "nominal"}
        features = [
            {
                "index": str(index), "name": name, "data_type": kind, "is_target": str(name == "kind").lower(),
                "is_ignore": "false", "is_row_identifier": str(name == "id").lower(), "number_of_missing_values": "0",
                **({"nominal_value": ["red", "blue"] if name == "colour" else ["a", "b"]} if kind == "nominal" else {}),
            }
            for index, (name, kind) in enumerate(kinds.items())
        ]  # fmt: skip
        for path, answer in {
            f"{api}/7": {"data_set_description": info},
            f"{api}/features/7": {"data_features": {"feature": features}},
            f"{api}/qualities/7": {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": "3.0"}]}},
            f"{api}/list/data_name/things/limit/2/data_version/2": {"data": {"dataset": [{"did": 7}]}},
        }.items():
            site.put(path, json.dumps(answer).encode())
        site.put("/data/v1/download/70/things.arff", ARFF.encode())
        unknown = json.dumps({"error": {"code": "372", "message": "No results"}}).encode()
        for path in (
            "list/data_name/none/limit/2/data_version/1",
            "list/data_name/none/limit/2/data_version/1/status/deactivated",
            "99",
        ):
            site.put(f"{api}/{path}", unknown, status=412)
        yield site


BY_NAME = OpenmlDataset(source="openml", name="things", version=2, target="kind")
BY_ID = OpenmlDataset(source="openml", data_id=7, target="kind")


@pytest.mark.parametrize("config", [BY_NAME, BY_ID])
def test_a_data_set_is_read_by_name_or_by_id_without_its_row_ids(site: Site, config: OpenmlDataset) -> None:
    frame = OpenmlSource(config).read()
    assert list(frame.columns) == ["size", "colour", "kind"]
    checked, schema = check_frame(frame, config, "classification")
    assert schema.labels == ("a", "b")
    assert [feature.type for feature in schema.features] == ["number", "category"]
    assert checked["colour"].tolist() == ["red", "blue", "red"]


def test_a_stored_copy_needs_no_openml(site: Site) -> None:
    version = OpenmlSource(BY_NAME).version()
    site.pages.clear()
    assert OpenmlSource(BY_NAME).version() == version


def test_an_unreachable_openml_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openml, "_SEARCH_NAME", "http://127.0.0.1:1/{}")
    with warnings.catch_warnings(record=True) as logged, pytest.raises(UnavailableError) as caught:
        OpenmlSource(BY_NAME).read()
    assert "OpenML things version 2: openml.org cannot be reached" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert logged == []


def test_a_download_from_openml_that_is_cut_off_is_refused_and_not_stored(site: Site) -> None:
    site.put("/data/v1/download/70/things.arff", ARFF.encode(), cut=20)
    with pytest.raises(UnavailableError, match="another MD5 than OpenML lists: it was cut off"):
        OpenmlSource(BY_NAME).read()
    site.put("/data/v1/download/70/things.arff", ARFF.encode())
    assert len(OpenmlSource(BY_NAME).read()) == 3


@pytest.mark.parametrize(
    "config",
    [
        OpenmlDataset(source="openml", name="none", version=1, target="kind"),
        OpenmlDataset(source="openml", data_id=99, target="kind"),
    ],
)
def test_a_data_set_that_is_not_on_openml_is_refused(site: Site, config: OpenmlDataset) -> None:
    with pytest.raises(DataError, match="not found"):
        OpenmlSource(config).read()


@pytest.mark.parametrize(
    "keys", [{}, {"name": "things"}, {"version": 1}, {"name": "things", "version": 1, "data_id": 7}]
)
def test_a_config_names_one_data_set(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected either 'data_id', or 'name' and 'version'"):
        OpenmlDataset(source="openml", target="kind", **keys)  # type: ignore[arg-type]
