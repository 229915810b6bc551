"""Replies in place of those that Starlette and BentoML make for an error, which are a text without a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route

from ratchet.errors import UnavailableError
from serving.responses import ErrorReply, reply_to_error
from serving.worker import NO_MODEL


def reply_to_framework_error(status: int, headers: Mapping[str, str], path: str, paths: Iterable[str]) -> ErrorReply:
    """Return the reply in place of an error.

    Parameters
    ----------
    status, headers: those of the framework's reply.
    path, paths: the requested path, and all paths of the service.
    """
    match status:
        case 404:
            spelling = _spelling(path)
            meant = next((known for known in paths if _spelling(known) == spelling), None)
            hint = f"use {meant}" if meant else "GET /docs lists the paths"
            return reply_to_error(HTTPException(404, f"there is no such path; {hint}"))
        case 405:
            allowed = ", ".join(sorted(method.strip() for method in headers.get("allow", "").split(",")))
            return reply_to_error(HTTPException(405, f"this path takes the methods {allowed}", {"allow": allowed}))
        case 503:
            return reply_to_error(UnavailableError(NO_MODEL))
    return reply_to_error(HTTPException(status))


def paths_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[str]:
    """Yield the paths of routes and of the applications that are mounted in them."""
    for route in routes:
        if isinstance(route, Mount):
            yield from paths_of(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            yield prefix + route.path


def _spelling(path: str) -> list[str]:
    """Return the parts of a path without what is easily mistaken: case, and repeated or final slashes."""
    return [part for part in path.casefold().split("/") if part]
