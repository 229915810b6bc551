"""Files by their hash on a DVC remote; errors are one line within seconds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ratchet.data.dvc_remote import fetch, push, require_remote
from ratchet.errors import ConfigError, DataError, StateError

CONTENT = b"x,y\n1,2\n"
VERSION = hashlib.md5(CONTENT).hexdigest()
S3 = "['remote \"s3\"']\n    url = s3://ratchet/dvc\n    connect_timeout = 1\n    read_timeout = 1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two remotes, a folder and S3; Git is not needed."""
    (tmp_path / "checkout" / ".dvc").mkdir(parents=True)
    config = "[core]\n    remote = local\n['remote \"local\"']\n    url = ../../remote\n" + S3
    (tmp_path / "checkout" / ".dvc" / "config").write_text(config)
    return tmp_path / "checkout"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file to push."""
    path = tmp_path / "rows.csv"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without keys of an object store."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def stored(root: Path) -> Path:
    return root.parent / "remote" / "files" / "md5" / VERSION[:2] / VERSION[2:]


def test_a_file_has_the_path_of_dvc_on_the_remote_and_is_sent_once(root: Path, rows: Path, tmp_path: Path) -> None:
    assert [push(root, "local", rows, VERSION) for _ in range(2)] == [True, False]
    assert stored(root).read_bytes() == CONTENT
    fetch(root, "local", VERSION, tmp_path / "deep" / "back.csv")
    assert (tmp_path / "deep" / "back.csv").read_bytes() == CONTENT


def test_dvc_pulls_what_was_pushed_and_what_dvc_pushed_is_fetched(root: Path, rows: Path, tmp_path: Path) -> None:
    (root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n    analytics = false\n")

    def dvc(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=True, capture_output=True, timeout=120)

    push(root, "local", rows, VERSION)
    (root / "pulled.csv.dvc").write_text(f"outs:\n- md5: {VERSION}\n  hash: md5\n  path: pulled.csv\n")
    dvc("pull")
    assert (root / "pulled.csv").read_bytes() == CONTENT
    (root / "added.csv").write_bytes(b"added")
    dvc("add", "added.csv")
    dvc("push")
    fetch(root, "local", hashlib.md5(b"added").hexdigest(), tmp_path / "fetched.csv")
    assert (tmp_path / "fetched.csv").read_bytes() == b"added"


def test_a_file_with_another_hash_is_not_pushed(root: Path, rows: Path) -> None:
    with pytest.raises(DataError, match=f"its hash is {VERSION}, expected {'0' * 32}; it was not pushed"):
        push(root, "local", rows, "0" * 32)
    assert not (root.parent / "remote").exists()


def test_a_missing_hash_leaves_no_file(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"the DVC remote 'local' has no file with the hash {VERSION}"):
        fetch(root, "local", VERSION, tmp_path / "back" / "rows.csv")
    assert list((tmp_path / "back").iterdir()) == []


def test_a_damaged_file_is_refused_with_both_hashes_and_the_target_is_unchanged(root: Path, rows: Path) -> None:
    push(root, "local", rows, VERSION)
    stored(root).chmod(0o644)
    stored(root).write_bytes(b"other")
    with pytest.raises(DataError, match=f"its hash is {hashlib.md5(b'other').hexdigest()}, expected {VERSION}"):
        fetch(root, "local", VERSION, rows)
    assert rows.read_bytes() == CONTENT


@pytest.mark.parametrize("version", ["", "abc", "../../etc/passwd", VERSION.upper()])
def test_an_invalid_hash_is_refused(root: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(DataError, match="expected 32 hex digits"):
        fetch(root, "local", version, tmp_path / "back.csv")


def test_an_unknown_remote_is_refused_with_the_nearest_name(root: Path, rows: Path) -> None:
    with pytest.raises(ConfigError, match="has no remote 'locl'; did you mean 'local'"):
        require_remote(root, "locl")
    with pytest.raises(ConfigError, match="RATCHET_DVC_REMOTE"):
        push(root, "locl", rows, VERSION)


def test_a_checkout_without_dvc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.dvc/config is missing: .* or run dvc init"):
        require_remote(tmp_path, "local")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("url = azure://container/path", "the remote 'other' is azure://…, expected a folder or s3://…"),
        (
            "url = s3://bucket\n    version_aware = true",
            "the remote 'other': the option version_aware is not supported",
        ),
        ("url = s3://bucket\n    regio = eu", "the remote 'other': .*extra keys not allowed"),
    ],
)
def test_a_remote_of_another_kind_or_with_another_option_is_refused(root: Path, options: str, message: str) -> None:
    with (root / ".dvc" / "config").open("a") as file:
        file.write(f"['remote \"other\"']\n    {options}\n")
    with pytest.raises(ConfigError, match=message):
        require_remote(root, "other")


def test_a_remote_that_cannot_be_written_is_one_line(root: Path, rows: Path) -> None:
    (root.parent / "remote").write_text("a file where the folder should be")
    with pytest.raises(StateError, match="the DVC remote 'local' cannot store rows.csv"):
        push(root, "local", rows, VERSION)


@pytest.mark.usefixtures("no_keys")
def test_missing_keys_of_an_object_store_name_their_variables(
    root: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StateError, match="Unable to locate credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS"):
        push(root, "s3", rows, VERSION)


def test_an_unreachable_object_store_is_an_error_within_seconds(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    began = time.monotonic()
    with pytest.raises(StateError, match=r"cannot read .*127\.0\.0\.1:1.*is AWS_ENDPOINT_URL right"):
        fetch(root, "s3", VERSION, tmp_path / "back" / "rows.csv")
    assert time.monotonic() - began < 15
    assert list((tmp_path / "back").iterdir()) == []
