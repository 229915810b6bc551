"""The warning about a server without a login that other machines can reach."""

from __future__ import annotations

import ipaddress
import socket
import sys


def warn_if_open(host: str, what: str, remedy: str) -> None:
    """Print a warning of one line if a server listens on an address that other machines can reach.

    Parameters
    ----------
    host: the address or name that it listens on.
    what: what the others can do without a key or a login.
    remedy: what to set instead.
    """
    if not _is_loopback(host):
        sys.stderr.write(
            f"warning: listening on {host or 'all addresses'} without a key or a login: any machine that can connect"
            f" can {what}; {remedy}, or listen on 127.0.0.1\n"
        )


def _is_loopback(host: str) -> bool:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)} if host else set()
    except OSError:  # the server itself reports a name that is not known
        return True
    return bool(found) and all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)
