"""One file over HTTP: what was cut off goes on where it stopped, if the server still has the same file (RFC 9110)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from ratchet.errors import DataError, UnavailableError

if TYPE_CHECKING:
    import urllib3

_BLOCK = 1 << 18
_MOST_REDIRECTS = 5
_CONNECT, _READ = 10.0, 30.0


def transfer(url: str, part: Path) -> None:
    """Bring a part that may be there already to the whole file.

    Parameters
    ----------
    url: http or https; it may redirect, but never from https to http or to another kind of URL.
    part: what has come so far; beside it stands ``<part>.json``, which says of which state of the file it is.

    Raises
    ------
    DataError: the server has no such file, or leads elsewhere.
    UnavailableError: it cannot be reached, is out of order, or cut the transfer off; the part stays for the next call.
    OSError: the part cannot be written.
    """
    import urllib3

    state = _state(part, url)
    try:
        response = _request(url, {"Accept-Encoding": "identity", **_asks_for_rest(part, state)})
        try:
            if response.status == 416:  # the part is no beginning of what is there now
                part.unlink(missing_ok=True)
                response.release_conn()
                response = _request(url, {"Accept-Encoding": "identity"})
            _require_content(url, response)
            _append(response, part, url)
        finally:
            response.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise UnavailableError(_told(url, part, error)) from None
    _beside(part).unlink(missing_ok=True)


def _asks_for_rest(part: Path, state: dict[str, Any]) -> dict[str, str]:
    """The headers that ask for what is missing; without a validator a whole file is the only safe thing to ask for."""
    if not state.get("validator") or not part.is_file() or part.stat().st_size == 0:
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": state["validator"]}


def _append(response: urllib3.BaseHTTPResponse, part: Path, url: str) -> None:
    start = _resumed_at(response)
    if start and start != part.stat().st_size:
        part.unlink()
        raise UnavailableError(f"{url}: the server sent another part than was asked for: run again to begin anew")
    if not start:
        _beside(part).write_text(json.dumps({"url": url, "validator": _validator(response)}))
    with part.open("ab" if start else "wb") as file:
        for block in response.stream(_BLOCK, decode_content=False):
            file.write(block)


def _resumed_at(response: urllib3.BaseHTTPResponse) -> int:
    if response.status != 206:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _validator(response: urllib3.BaseHTTPResponse) -> str | None:
    """What names this state of the file byte by byte: a strong ETag, else the date it was last modified."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _state(part: Path, url: str) -> dict[str, Any]:
    try:
        state = json.loads(_beside(part).read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and state.get("url") == url else {}


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _request(url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """The answer to a GET, its body not read yet, after as many redirects as there are."""
    at = url
    for _ in range(_MOST_REDIRECTS):
        response = _pool(at).request("GET", at, headers=headers, redirect=False, retries=False, preload_content=False)
        location = response.get_redirect_location()
        if not location:
            return response
        response.release_conn()
        at = _redirected(url, at, location)
    raise DataError(f"{url}: redirects more than {_MOST_REDIRECTS} times: give the address at which it ends")


def _redirected(url: str, at: str, location: str) -> str:
    try:
        to = urljoin(at, location)
        scheme = urlsplit(to).scheme
    except ValueError:
        raise DataError(f"{url}: redirects to {location[:200]!r}, which is no address") from None
    if scheme not in ("http", "https") or (urlsplit(at).scheme, scheme) == ("https", "http"):
        raise DataError(
            f"{url}: redirects to {to[:200]!r}, which is not followed: expected http or https, after https only https"
        )
    return to


def _pool(url: str) -> urllib3.PoolManager:
    """A client for one address, through the proxy that the environment names for it."""
    import urllib3

    timeout = urllib3.Timeout(connect=_CONNECT, read=_READ)
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    headers = {"User-Agent": "ratchet"}
    if proxy:
        return urllib3.ProxyManager(proxy, timeout=timeout, headers=headers)
    return urllib3.PoolManager(timeout=timeout, headers=headers)


def _require_content(url: str, response: urllib3.BaseHTTPResponse) -> None:
    if response.status in (200, 206):
        return
    what = f"{url}: the server answered {response.status} {response.reason or ''}".rstrip()
    if response.status >= 500 or response.status in (408, 425, 429):
        raise UnavailableError(f"{what}: run again later")
    raise DataError(f"{what}: look whether the address is right, and whether it may be read by everybody")


def _told(url: str, part: Path, error: Exception) -> str:
    import urllib3

    if isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.ReadTimeoutError) and part.is_file():
        size = part.stat().st_size
        again = "goes on from there" if _state(part, url).get("validator") else "begins anew"
        return f"{url}: the download was cut off after {size} bytes ({_cause(error)}); the next run {again}"
    return (
        f"{url} cannot be reached ({_cause(error)}): look at the network and the address and run again, or fetch the"
        " file elsewhere and name it with source: csv, tsv or parquet"
    )


def _cause(error: Exception) -> str:
    """The last of what urllib3 says, without the object that it speaks of."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    return re.sub(r"^.*object at 0x\w+>[,:]? ?|^[\w.]*Connection\(host=[^)]*\): ", "", text).strip()[:200]
