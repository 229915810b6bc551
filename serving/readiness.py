"""The lines that the command prints while the service starts: that it starts, and what it serves once it answers."""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import Any

from ratchet.settings import Settings

# Seconds between two probes of a service that does not listen yet, and of one that has no model yet.
_POLL_INTERVAL = 0.05
_MODEL_POLL_INTERVAL = 1.0
_TIMEOUT = 5.0


def announce_start(settings: Settings) -> None:
    """Print that the service starts; it does not answer yet."""
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    what = f"{settings.serve_model} with {workers}" if settings.serve_model else workers
    _print(f"starting {what} on {_url(settings)}; Ctrl-C ends it")


def announce_when_ready(settings: Settings, started: float) -> None:
    """Print the served version once requests are answered; returns at once.

    Parameters
    ----------
    settings: with the port that the workers listen on.
    started: the start of the service, from ``time.monotonic()``.
    """
    threading.Thread(target=_announce_when_ready, args=(settings, started), name="readiness", daemon=True).start()


def _announce_when_ready(settings: Settings, started: float) -> None:
    has_waited = False
    while (health := _health(settings)) is None or health["version"] is None:
        if health is not None and not has_waited:
            model = health["model"] or "a model"
            _print(f"listening on {_url(settings)}; no version of {model} is loaded yet")
            has_waited = True
        time.sleep(_POLL_INTERVAL if health is None else _MODEL_POLL_INTERVAL)
    ready = "ready" if has_waited else f"ready in {time.monotonic() - started:.1f} s"
    _print(f"{ready}: {health['model']} version {health['version']} on {_url(settings)} (API at /docs)")


def _health(settings: Settings) -> dict[str, Any] | None:
    """Return the body of ``/health``; None while the service does not answer."""
    headers = {"X-API-Key": settings.api_keys[0].get_secret_value()} if settings.api_keys else {}
    connection = HTTPConnection(_reachable(settings.host), settings.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/health", headers=headers)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return found if "version" in found else None


def _reachable(host: str) -> str:
    """Return the address to connect to: loopback for the one that stands for all addresses of the machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "::1" if address.version == 6 else "127.0.0.1"


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
