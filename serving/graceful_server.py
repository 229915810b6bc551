"""The end of a worker: every connection that was established gets its answers."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import socket
import struct
import sys
from types import FrameType

import uvicorn

from serving.connection_table import ConnectionTable

logger = logging.getLogger(__name__)

# Seconds in which connections under way arrive, and in which clients get an answer that closes their connection.
_ARRIVAL = 0.1
_GRACE = 1.0
_POLL_INTERVAL = 0.02
_SO_ATTACH_FILTER = 26
# A classic BPF program: drop segments with SYN (bit 1 of byte 13 of the TCP header), and accept all others.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
# Offset of the length of the accept queue in tcp_info of a listening socket.
_QUEUE_OFFSET = 24


class GracefulServer(uvicorn.Server):
    """A server that drains its accept queue before it stops to listen.

    The kernel resets the connections in the accept queue of a listening socket that is closed, and of one that is shut
    down too. So new connections are kept away first: their first segments are dropped, and the clients send them again
    after a second, when another worker gets them, or the port is closed.
    """

    def __init__(self, config: uvicorn.Config, table: ConnectionTable) -> None:
        super().__init__(config)
        self._table = table

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a worker that still waits for its model has taken no request, and may wait for ever."""
        if not self.started:
            os._exit(0)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._table.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, answer what was received, and close all connections."""
        for listener in sockets or ():
            _drop_new_connections(listener)
        self._table.drain()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while (elapsed := loop.time() - begin) < _GRACE:
            if elapsed >= _ARRIVAL and not len(self._table) and not any(map(_queued, sockets or ())):
                break
            await asyncio.sleep(_POLL_INTERVAL)
        await super().shutdown(sockets)


def _drop_new_connections(listener: socket.socket) -> None:
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _DROP_SYN))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program))
        )
    except OSError as error:
        logger.warning("connections that come while the service stops may be reset: %s", error)


def _queued(listener: socket.socket) -> int:
    """Return the number of connections that wait to be accepted."""
    if sys.platform != "linux":
        return 0
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE_OFFSET + 4)
    return int(struct.unpack_from("I", info, _QUEUE_OFFSET)[0])
