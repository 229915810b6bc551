"""Download of one file over HTTP, with resume (RFC 9110, range requests)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ratchet.errors import DataError, UnavailableError

if TYPE_CHECKING:
    import urllib3

_BLOCK = 1 << 18
_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10.0, 30.0


def transfer(url: str, part: Path) -> None:
    """Download a file, or the rest of one that is partly downloaded.

    Parameters
    ----------
    url: http or https. Redirects are followed to http and https; from an https URL to https alone.
    part: the file. ``<part>.json`` has the validator (ETag or date) of the content while it is incomplete.

    Raises
    ------
    DataError: the server has no such file, or redirects too often or to another kind of URL.
    UnavailableError: the server is unreachable or unavailable, or the transfer was interrupted; the part is kept.
    OSError: the part cannot be written.
    """
    import urllib3

    validator = _validator_of(part)
    size = part.stat().st_size if validator and part.is_file() else 0
    # Without a validator, the rest could belong to other content.
    rest = {"Range": f"bytes={size}-", "If-Range": str(validator)} if size else {}
    with _get(url, rest) as response:
        if rest and response.status == 416:  # the file on the server is shorter now
            part.unlink()
            transfer(url, part)
            return
        _require_content(url, response)
        try:
            _write(response, part, size, url)
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(_interrupted(url, part, error)) from None
    _state_file(part).unlink(missing_ok=True)


def _get(url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """Return the response to a GET, after redirects, with its body unread."""
    import urllib3

    retries = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=_MAX_REDIRECTS)
    all_headers = {"User-Agent": "ratchet", "Accept-Encoding": "identity", **headers}
    try:
        return _pool(url).request("GET", url, headers=all_headers, retries=retries, preload_content=False)
    except ValueError as error:  # urllib3's too, for an address that it cannot parse or a scheme that is not allowed
        expected = "expected http or https, and https after https"
        raise DataError(f"{url}: redirects to an address that is not followed ({error}): {expected}") from None
    except urllib3.exceptions.HTTPError as error:
        if "too many redirects" in str(error):
            raise DataError(f"{url}: redirects more than {_MAX_REDIRECTS} times: use the final address") from None
        raise UnavailableError(
            f"{url} cannot be reached ({_cause(error)}): check the network and the address and run again, or download"
            " the file yourself and use source: csv, tsv or parquet"
        ) from None


def _pool(url: str) -> urllib3.PoolManager:
    """Return a client for a URL, with the proxy that the environment names for it."""
    import urllib3

    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT)
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    pool = urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)
    if parts.scheme == "https":
        del pool.key_fn_by_scheme["http"]
    return pool


def _require_content(url: str, response: urllib3.BaseHTTPResponse) -> None:
    if response.status in (200, 206):
        return
    answer = f"{url}: the server answered {response.status} {response.reason or ''}".rstrip()
    if response.status >= 500 or response.status in (408, 425, 429):
        raise UnavailableError(f"{answer}: run again later")
    raise DataError(f"{answer}: check the address, and whether it is public")


def _write(response: urllib3.BaseHTTPResponse, part: Path, size: int, url: str) -> None:
    resumed = response.status == 206
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
        part.unlink(missing_ok=True)
        raise UnavailableError(f"{url}: the server sent another range than the requested one: run again to start over")
    if not resumed:
        # A weak ETag does not promise the same bytes.
        tag = response.headers.get("ETag", "W/")
        validator = response.headers.get("Last-Modified") if tag.startswith("W/") else tag
        _state_file(part).write_text(json.dumps({"url": url, "validator": validator}))
    with part.open("ab" if resumed else "wb") as file:
        for block in response.stream(_BLOCK, decode_content=False):
            file.write(block)


def _validator_of(part: Path) -> str | None:
    try:
        validator = json.loads(_state_file(part).read_text())["validator"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return validator if isinstance(validator, str) else None


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _interrupted(url: str, part: Path, error: Exception) -> str:
    size, resumes = part.stat().st_size, "resumes there" if _validator_of(part) else "starts over"
    return f"{url}: the download was cut off after {size} bytes ({_cause(error)}); the next run {resumes}"


def _cause(error: Exception) -> str:
    """Return the message of urllib3 in one line, without the connection that it begins with."""
    reason = getattr(error, "reason", None) or error
    text = " ".join(str(reason.args[0] if reason.args else reason).split())
    return re.sub(r"^(?:<.*?>|\w*Connection\w*\(.*?\))[,:] ", "", text)[:200]
