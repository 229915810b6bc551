"""The scripts and the icon of the pages: files without any data, which are served without a key."""

from __future__ import annotations

import functools

from starlette.requests import Request
from starlette.responses import Response

from serving.page_templates import FOLDER

_MEDIA_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".ico": "image/x-icon"}
PAGE_FILES = tuple(f"/{path.name}" for path in sorted(FOLDER.iterdir()) if path.suffix in _MEDIA_TYPES)


async def send_page_file(request: Request) -> Response:
    """Send the file of a path in ``PAGE_FILES``."""
    name = request.url.path.rpartition("/")[2]
    media_type = _MEDIA_TYPES[name[name.rindex(".") :]]
    return Response(_content(name), media_type=media_type)


@functools.cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
