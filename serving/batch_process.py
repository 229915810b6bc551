"""The process that answers batches, so that they do not hold the interpreter's lock of the workers.

It has a low priority. A worker sends it the version that answers, the request and the body, and gets the response and
the batch, which the worker saves before it responds.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections import OrderedDict
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import orjson

from ratchet.errors import InputError, PackageError, Problem, RatchetError, UnavailableError, one_line
from ratchet.inference.runtime import Runtime, load_file
from ratchet.settings import Settings, load_settings
from ratchet.store.prediction_batches import PredictionBatch
from serving.batch_answers import BatchReply, BatchRequest, answer
from serving.environment import prepare_environment
from serving.json_logging import log_as_json

logger = logging.getLogger(__name__)

# A tenth of the processor that a worker gets, when both want it.
NICE = 10
# Versions that stay loaded: the one in Production, and the one before a cut-over.
_MODELS = 2
# Objects that are made before garbage is collected; a batch of JSON rows makes an object for each row.
_GC_THRESHOLD = 100_000
# Seconds that a worker waits for a process that was killed to be restarted.
_RESTART = 5.0
_PAUSE = 0.02


class BatchProcess:
    """A worker's connection to the process of batches; for one thread.

    Parameters
    ----------
    address: the Unix socket of the process; None to answer in the calling thread.
    timeout: seconds after which a batch is refused.
    """

    def __init__(self, address: str | None, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._connection: Connection | None = None

    def answer(self, runtime: Runtime, request: BatchRequest, body: bytes) -> BatchReply:
        """Answer a batch with a version.

        Raises
        ------
        InputError: has each invalid value, such as ``rows[3].age``.
        UnavailableError: there is no answer within the timeout, or the process ended twice.
        """
        deadline = time.monotonic() + self._timeout
        try:
            connection = self._connect()
        except OSError:  # no process was started, or it is starting
            return answer(runtime, request, body)
        try:
            return self._ask(connection, runtime, request, body, deadline)
        except (EOFError, OSError):
            logger.warning("the process of batches has ended; the batch is sent again")
        try:
            connection = self._reconnect(min(deadline, time.monotonic() + _RESTART))
            return self._ask(connection, runtime, request, body, deadline)
        except (EOFError, OSError):
            self.close()
            raise UnavailableError("the process of batches has ended") from None

    def close(self) -> None:
        """Close the connection; the next batch opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> Connection:
        if self._connection is None:
            if self._address is None:
                raise ConnectionError
            with socket.socket(socket.AF_UNIX) as opened:
                opened.connect(self._address)
                self._connection = Connection(opened.detach())
        return self._connection

    def _reconnect(self, deadline: float) -> Connection:
        self.close()
        while True:
            try:
                return self._connect()
            except OSError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE)

    def _ask(
        self, connection: Connection, runtime: Runtime, request: BatchRequest, body: bytes, deadline: float
    ) -> BatchReply:
        version = {"model": runtime.model, "version": runtime.version, "digest": runtime.digest}
        connection.send_bytes(orjson.dumps({"version": version, "request": asdict(request)}))
        connection.send_bytes(body)
        if not connection.poll(max(0.0, deadline - time.monotonic())):
            self.close()
            raise UnavailableError(f"the computation did not finish within {self._timeout:g} s")
        head = orjson.loads(connection.recv_bytes())
        if "problems" in head:
            raise InputError([Problem(*problem) for problem in head["problems"]])
        if "not_loaded" in head:
            logger.warning("the worker answers a batch: %s", head["not_loaded"])
            return answer(runtime, request, body)
        if "failed" in head:
            raise RuntimeError(head["failed"])
        answered, content = connection.recv_bytes(), connection.recv_bytes()
        return BatchReply(answered, head["is_arrow"], PredictionBatch(**head["batch"], content=content))


def serve_batches(address: str) -> None:
    """Answer the batches of all workers until the process is stopped."""
    prepare_environment()
    settings = load_settings()
    log_as_json(settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers finish what they have begun
    os.nice(NICE)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    models = _Models(settings)
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        connections: list[Connection] = []
        while True:
            for ready in wait([listener, *connections]):
                if ready is listener:
                    connections.append(Connection(listener.accept()[0].detach()))
                elif isinstance(ready, Connection) and not _serve(ready, models):
                    connections.remove(ready)
                    ready.close()


class _Models:
    """The versions that workers answer with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: OrderedDict[str, Runtime] = OrderedDict()

    def get(self, model: str, version: str, digest: str) -> Runtime:
        """Return a version, which is loaded from the cache of packages when it is needed first.

        Raises
        ------
        RatchetError: it cannot be loaded.
        """
        key = f"{model} {version} {digest}"
        if key not in self._loaded:
            self._loaded[key] = self._load(model, version, digest)
            while len(self._loaded) > _MODELS:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _load(self, model: str, version: str, digest: str) -> Runtime:
        from ratchet.inference.package_cache import PackageCache

        settings = self._settings
        if settings.model_path is None:
            return PackageCache(settings).load_cached(model, version, digest)
        runtime = load_file(settings.model_path, most_rows=settings.max_batch_rows, most_bytes=settings.max_body_bytes)
        if runtime.digest != digest:
            raise PackageError(f"{settings.model_path} has changed since the service was started")
        return runtime


def _serve(connection: Connection, models: _Models) -> bool:
    """Answer one batch; returns whether the connection is still open."""
    try:
        head, body = orjson.loads(connection.recv_bytes()), connection.recv_bytes()
        messages = _answered(models, head, body)
        for message in messages:
            connection.send_bytes(message)
    except (EOFError, OSError):
        with contextlib.suppress(OSError):
            connection.close()
        return False
    return True


def _answered(models: _Models, head: dict[str, Any], body: bytes) -> list[bytes]:
    try:
        runtime = models.get(**head["version"])
    except RatchetError as error:
        return [orjson.dumps({"not_loaded": str(error)})]
    try:
        reply = answer(runtime, BatchRequest(**head["request"]), body)
    except InputError as error:
        return [orjson.dumps({"problems": [[problem.field, problem.message] for problem in error.problems]})]
    except Exception as error:
        logger.exception("a batch failed")
        return [orjson.dumps({"failed": one_line(error)})]
    batch = {name: value for name, value in vars(reply.batch).items() if name != "content"}
    return [orjson.dumps({"is_arrow": reply.is_arrow, "batch": batch}), reply.body, reply.batch.content]
