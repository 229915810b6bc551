"""The relay: one process that writes the predictions of all workers of a machine.

Workers that write for themselves take turns: each waits for the others' transactions, and makes small ones. The relay
gathers what all of them have, makes one transaction of it, and tells each that its rows are durable. A worker that
cannot reach the relay, or is told no, writes for itself; a row that is there already is left as it is, so that nothing
is lost or doubled when the relay dies between the two.

A frame is the length of its content in four bytes, big-endian, and rows as JSON; the reply to each is one byte.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from ratchet.errors import StateError
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, PredictionWriter

logger = logging.getLogger(__name__)

Rows = Sequence[Prediction]
_YES, _NO = b"\x01", b"\x00"
_HEAD = 4


class RelayServer:
    """Gathers rows from its connections and writes them.

    Parameters
    ----------
    open_store: opens the store; called again until it succeeds.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._writer: PredictionWriter | None = None
        self._pending: list[tuple[asyncio.Transport, Rows]] = []

    async def run(self, path: Path) -> None:
        """Serve on a Unix socket until cancelled."""
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Connection(self), str(path))
        path.chmod(0o600)
        async with server:
            await server.serve_forever()

    def take(self, transport: asyncio.Transport, rows: Rows) -> None:
        """Keep rows for the transaction at the end of this turn of the event loop."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._write)
        self._pending.append((transport, rows))

    def _write(self) -> None:
        pending, self._pending = self._pending, []
        reply = _YES
        try:
            if self._writer is None:
                self._writer = PredictionWriter(self._open_store(), patience=0.0)
            self._writer.write([row for _, rows in pending for row in rows])
        except StateError:
            reply = _NO  # the worker finds out what it is, and says so
        except Exception:
            # Replies are told apart by their order alone: no frame may go without one.
            logger.exception("the relay could not write; the workers write for themselves")
            reply = _NO
        for transport, _ in pending:
            transport.write(reply)


class _Connection(asyncio.Protocol):
    """A worker's connection, as the relay sees it."""

    def __init__(self, server: RelayServer) -> None:
        self._server = server
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            end = _HEAD + int.from_bytes(self._buffer[:_HEAD])
            if len(self._buffer) < end:
                return
            rows = orjson.loads(self._buffer[_HEAD:end])
            del self._buffer[:end]
            self._server.take(self._transport, rows)  # type: ignore[arg-type]


class RelayClient(asyncio.Protocol):
    """A worker's connection to the relay, made again whenever it is lost.

    Parameters
    ----------
    path: the relay's socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transport: asyncio.WriteTransport | None = None
        self._outstanding: deque[tuple[float, Callable[[bool], None]]] = deque()

    async def connect(self) -> None:
        """Connect, if the relay is there."""
        if self._transport is None:
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: self, str(self._path))
            except OSError:
                return

    @property
    def connected(self) -> bool:
        """Whether rows can be sent."""
        return self._transport is not None

    def send(self, rows: Rows, done: Callable[[bool], None]) -> None:
        """Send rows; ``done`` is told whether they are durable."""
        if self._transport is None:
            done(False)
            return
        content = orjson.dumps(rows)
        self._outstanding.append((asyncio.get_running_loop().time(), done))
        self._transport.write(len(content).to_bytes(_HEAD) + content)

    def give_up(self, patience: float) -> None:
        """Leave a relay that has not answered for longer than ``patience`` seconds."""
        late = asyncio.get_running_loop().time() - patience
        if self._transport and self._outstanding and self._outstanding[0][0] < late:
            logger.warning("the relay does not answer; this worker writes for itself")
            self._transport.abort()
            self._lose()

    def close(self) -> None:
        """Disconnect."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with a byte for each frame."""
        for reply in data:
            if self._outstanding:
                self._outstanding.popleft()[1](reply == _YES[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._lose()

    def _lose(self) -> None:
        self._transport = None
        outstanding, self._outstanding = self._outstanding, deque()
        for _, done in outstanding:
            done(False)
