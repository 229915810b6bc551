from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import URLSchemeUnknown

from ratchet.config import HttpDataset
from ratchet.config.files import parse_config
from ratchet.data.fetch import archives, transfer
from ratchet.data.fetch.archives import member_file
from ratchet.data.fetch.downloads import Remote, download
from ratchet.data.fingerprint import file_sha256
from ratchet.data.sources.files import FileSource
from ratchet.errors import ConfigError, DataError, StateError, UnavailableError
from tests.originals import zipped
from tests.web_server import Site, serving

TEXT = b"size,kind\n" + b"".join(b"%d,%s\n" % (number, b"ab"[number % 2 : number % 2 + 1]) for number in range(2000))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def _downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_DOWNLOADS_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def site(server: Site) -> Site:
    server.pages.clear()
    server.requests.clear()
    return server


def dataset(url: str, **keys: Any) -> HttpDataset:
    return HttpDataset(source="http", url=url, target="kind", **keys)


def test_a_file_is_downloaded_once_and_read_as_a_local_file(site: Site) -> None:
    config = dataset(site.put("/data.csv", TEXT), sha256=sha(TEXT))
    frame = FileSource(config).read()
    assert frame.shape == (2000, 2)
    assert FileSource(config).version() == hashlib.md5(TEXT).hexdigest()
    assert site.paths() == ["/data.csv"]


def test_a_stored_copy_needs_no_server(site: Site, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/data.csv"
    stored = tmp_path / sha(TEXT) / "data.csv"
    stored.parent.mkdir()
    stored.write_bytes(TEXT)
    assert FileSource(dataset(url, sha256=sha(TEXT))).read().shape == (2000, 2)


def test_a_changed_copy_is_downloaded_again(site: Site) -> None:
    remote = Remote(site.put("/data.csv", TEXT), sha(TEXT))
    download(remote).write_bytes(b"edited")
    assert download(remote).read_bytes() == TEXT
    assert len(site.requests) == 2


def test_content_with_another_hash_is_refused_with_both_hashes_and_not_stored(site: Site, tmp_path: Path) -> None:
    remote = Remote(site.put("/data.csv", TEXT), sha(b"what was wanted"))
    with pytest.raises(DataError) as caught:
        download(remote)
    assert sha(TEXT) in str(caught.value)
    assert sha(b"what was wanted") in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_file_that_changed_on_the_server_does_not_replace_the_copy(site: Site) -> None:
    url = site.put("/data.csv", TEXT)
    old = download(Remote(url, sha(TEXT)))
    site.put("/data.csv", TEXT + b"1,a\n")
    with pytest.raises(DataError, match="another hash"):
        download(Remote(url, sha(b"neither")))
    assert old.read_bytes() == TEXT
    assert download(Remote(url, sha(TEXT))) == old


def test_without_a_hash_the_first_download_is_pinned_and_logged(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remote = Remote(site.put("/data.csv", TEXT))
    with caplog.at_level(logging.WARNING):
        first = download(remote)
    assert sha(TEXT) in caplog.text
    site.put("/data.csv", TEXT + b"1,a\n")
    assert download(remote) == first
    first.unlink()
    with pytest.raises(DataError) as caught:
        download(remote)
    assert sha(TEXT) in str(caught.value)
    assert sha(TEXT + b"1,a\n") in str(caught.value)
    assert f"remove {tmp_path / remote.key}.pin" in str(caught.value)


def test_an_invalid_pin_is_refused(site: Site, tmp_path: Path) -> None:
    remote = Remote(site.put("/data.csv", TEXT))
    (tmp_path / f"{remote.key}.pin").write_text("{")
    with pytest.raises(StateError, match="has no valid hash of"):
        download(remote)


def test_a_download_that_was_cut_off_is_resumed(site: Site, tmp_path: Path) -> None:
    remote = Remote(site.put("/data.csv", TEXT, cut=5000), sha(TEXT))
    with pytest.raises(UnavailableError, match="cut off after 5000 bytes .*the next run resumes there"):
        download(remote)
    site.put("/data.csv", TEXT)
    assert download(remote).read_bytes() == TEXT
    assert site.requests[1][1]["Range"] == "bytes=5000-"
    assert not list(tmp_path.glob("*.part*"))


def test_a_file_that_changed_after_the_cut_starts_over(site: Site) -> None:
    with pytest.raises(UnavailableError):
        download(Remote(site.put("/data.csv", b"x" * 9000, cut=5000)))
    assert download(Remote(site.put("/data.csv", TEXT))).read_bytes() == TEXT


@pytest.mark.parametrize("faults", [{"ranges": False}, {"tag": ""}])
def test_a_server_without_ranges_or_validators_is_asked_for_the_whole_file(site: Site, faults: dict[str, Any]) -> None:
    remote = Remote(site.put("/data.csv", TEXT, cut=5000, **faults), sha(TEXT))
    with pytest.raises(UnavailableError, match="cut off after 5000 bytes"):
        download(remote)
    site.put("/data.csv", TEXT, **faults)
    assert download(remote).read_bytes() == TEXT


def test_a_part_that_is_longer_than_the_file_starts_over(site: Site, tmp_path: Path) -> None:
    remote = Remote(site.put("/data.csv", TEXT, tag='"one"'), sha(TEXT))
    part = tmp_path / f"{remote.key}.part"
    part.write_bytes(TEXT + b"more")
    part.with_name(f"{part.name}.json").write_text(json.dumps({"url": remote.url, "validator": '"one"'}))
    assert download(remote).read_bytes() == TEXT


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_an_unreachable_server_is_one_line(host: str) -> None:
    url = f"http://{host}/data.csv"
    with pytest.raises(UnavailableError) as caught:
        download(Remote(url))
    message = str(caught.value)
    assert message.startswith(f"{url} cannot be reached (")
    assert "Connection refused" in message or "Name or service" in message or "name resolution" in message
    assert "check the network and the address" in message
    assert "\n" not in message


@pytest.mark.parametrize(("status", "kind"), [(404, DataError), (403, DataError), (503, UnavailableError)])
def test_an_error_status_is_one_line(site: Site, tmp_path: Path, status: int, kind: type[Exception]) -> None:
    remote = Remote(site.put("/data.csv", b"sorry", status=status))
    with pytest.raises(kind, match=f"the server answered {status}"):
        download(remote)
    assert not list(tmp_path.glob("*.part"))


def test_redirects_are_followed_to_web_servers_alone(site: Site) -> None:
    site.put("/there.csv", TEXT)
    assert download(Remote(site.put("/here.csv", b"", location="/there.csv"))).read_bytes() == TEXT
    for place in ("file:///etc/passwd", "ftp://example.org/data.csv", "http://[half"):
        with pytest.raises(DataError, match="redirects to an address that is not followed"):
            download(Remote(site.put("/away.csv", b"", location=place)))
    with pytest.raises(DataError, match="redirects more than 5 times"):
        download(Remote(site.put("/round.csv", b"", location="/round.csv")))


def test_a_folder_of_downloads_that_cannot_be_created_is_an_error(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RATCHET_DOWNLOADS_DIR", str(tmp_path / "file" / "downloads"))
    with pytest.raises(StateError, match="cannot be written"):
        download(Remote(site.put("/data.csv", TEXT)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "file:///etc/passwd"}, "expected such as https://example.org/data.csv"),
        ({"url": "ftp://example.org/data.csv"}, "expected such as https://example.org/data.csv"),
        ({"url": "https://me:secret@example.org/data.csv"}, "has a name or password in it"),
        ({"url": "https://example.org/data"}, "does not end in .csv, .tsv or .parquet"),
        ({"url": "https://example.org/a.zip", "member": "u.data"}, "the member does not end in"),
        ({"url": "https://example.org/a.csv", "sha256": "abc"}, "dataset.sha256"),
        ({"url": "https://example.org/a.csv", "names": ["a", "a"]}, "the column 'a' is named 2 times"),
    ],
)
def test_an_invalid_section_is_refused(keys: dict[str, Any], message: str) -> None:
    section = {"source": "http", "target": "kind", **keys}
    with pytest.raises(ConfigError) as caught:
        parse_config({"model": "m", "dataset": section, "train": {"estimator": "sklearn.svm.SVC"},
                      "evaluate": {"primary_metric": "f1_macro"}})  # fmt: skip
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def tarred(mode: Any = "w:gz", **members: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_of_an_archive_is_the_data_set(site: Site, pack: Any) -> None:
    packed = pack(**{"folder/data.csv": TEXT, "folder/README": b"about"})
    config = dataset(site.put("/all", packed), sha256=sha(packed), member="folder/data.csv")
    source = FileSource(config)
    assert source.version() == hashlib.md5(TEXT).hexdigest()
    assert source.read().shape == (2000, 2)


def test_a_single_file_in_gzip_is_unpacked(site: Site) -> None:
    assert FileSource(dataset(site.put("/data.csv.gz", gzip.compress(TEXT)))).read().shape == (2000, 2)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_wrong_member_is_refused_with_the_names_in_the_archive(site: Site, pack: Any) -> None:
    url = site.put("/all.csv", pack(**{"data.csv": TEXT}))
    with pytest.raises(DataError, match=r"is an archive: set dataset.member to the file in it.*data\.csv"):
        FileSource(dataset(url)).read()
    with pytest.raises(DataError, match=r"has no file 'dat\.csv'; did you mean 'data\.csv'"):
        FileSource(dataset(url, member="dat.csv")).read()


def test_a_member_that_unpacks_to_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MAX_BYTES", 1_000_000)
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(zipped(**{"zeros.csv": b"0" * 5_000_000}))
    with pytest.raises(DataError, match="unpacks to more than 1000000 bytes"):
        member_file(bomb, "zeros.csv")
    assert list(tmp_path.iterdir()) == [bomb]


@pytest.mark.parametrize("name", ["../../escaped.csv", "/tmp/escaped.csv"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_is_written_into_the_folder_of_its_archive_whatever_its_path(
    tmp_path: Path, name: str, pack: Any
) -> None:
    archive = tmp_path / "inner" / "archive"
    archive.parent.mkdir()
    archive.write_bytes(pack(**{name: TEXT}))
    assert member_file(archive, name).parent == archive.parent


def test_a_member_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("data.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="has no file 'data.csv'"):
        member_file(archive, "data.csv")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, share: float) -> None:
    archive = tmp_path / "data.tar.gz"
    whole = tarred(**{"data.csv": TEXT})
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"damaged|not a zip or tar archive"):
        member_file(archive, "data.csv")


def damaged(packed: bytes) -> bytes:
    """The same with the middle of what is compressed turned over."""
    middle = len(packed) // 2
    return packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 20]) + packed[middle + 20 :]


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, "w:gz", "w:xz"])
def test_a_damaged_member_is_refused_with_any_compression(tmp_path: Path, how: Any) -> None:
    content = b"".join(hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(3000))
    archive = tmp_path / "archive"
    if isinstance(how, str):
        archive.write_bytes(tarred(how, **{"data.csv": content}))
    else:
        with zipfile.ZipFile(archive, "w", how) as packed:
            packed.writestr("data.csv", content)
    archive.write_bytes(damaged(archive.read_bytes()))
    with pytest.raises(DataError, match="the archive is damaged"):
        member_file(archive, "data.csv")
    assert list(tmp_path.iterdir()) == [archive]


def test_an_https_url_never_leads_to_http(site: Site) -> None:
    client = transfer._pool("https://example.org/data.csv")
    with pytest.raises(URLSchemeUnknown):
        client.request("GET", site.put("/data.csv", TEXT))
    assert site.requests == []


def test_a_member_of_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(TEXT)
    with pytest.raises(DataError, match="data.csv is not a zip or tar archive: leave member out"):
        member_file(tmp_path / "data.csv", "data.csv")
    assert file_sha256(member_file(tmp_path / "data.csv", None)) == sha(TEXT)
