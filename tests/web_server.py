"""A web server on loopback that serves the pages of a test, with faults."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """The response of a path.

    Attributes
    ----------
    body: the whole content.
    status: other than 200 (or 206 for a range).
    cut: the number of bytes after which the connection ends, though Content-Length is that of the body.
    location: the target of a redirect.
    ranges: whether range requests are supported.
    tag: the ETag; None for the hash of the body, empty for none.
    """

    body: bytes = b""
    status: int = 200
    cut: int | None = None
    location: str | None = None
    ranges: bool = True
    tag: str | None = None


@dataclass
class Site:
    """The pages, and the path and headers of each request."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def put(self, path: str, body: bytes, **faults: object) -> str:
        """Serve a body; return its URL."""
        self.pages[path] = Page(body, **faults)  # type: ignore[arg-type]
        return self.url + path

    def paths(self) -> list[str]:
        """The paths of the requests, in order."""
        return [path for path, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.site.requests.append((self.path, dict(self.headers)))
        page = self.site.pages.get(self.path, Page(b"no such page", 404))
        if page.location is not None:
            self._answer(302, b"", {"Location": page.location})
            return
        tag = f'"{hashlib.md5(page.body).hexdigest()}"' if page.tag is None else page.tag
        headers = {"ETag": tag} if tag else {}
        start = self._start(page, tag)
        if start is None:
            self._answer(page.status, page.body, headers, page.cut)
        elif start >= len(page.body):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(page.body)}"})
        else:
            last = len(page.body) - 1
            headers["Content-Range"] = f"bytes {start}-{last}/{len(page.body)}"
            self._answer(206, page.body[start:], headers, page.cut)

    def _start(self, page: Page, tag: str) -> int | None:
        requests = self.headers.get("Range", "")
        if not page.ranges or not requests.startswith("bytes=") or page.status != 200:
            return None
        if self.headers.get("If-Range") not in (None, tag):
            return None
        return int(requests.removeprefix("bytes=").removesuffix("-"))

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Do not log."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: object) -> None:
        """Ignore clients that close the connection early."""


@contextmanager
def serving() -> Iterator[Site]:
    """A site on a free port."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    site = handler.site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
