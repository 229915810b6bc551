"""The end of the service under load: no request that was received is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ratchet.settings import Settings
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.raw_http import RawConnection, connected, post, request
from tests.serving.running import Service, serving, wait_until

CLIENTS = 64


@pytest.fixture
def model(served_settings: Settings, iris_models: tuple[Trained, Trained]) -> str:
    return published(served_settings, iris_models[0]).model


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", [post(), request("GET", "/model"), post(path="/explain")], ids=["hot", "GET", "BentoML"]
)
def test_connections_in_the_accept_queue_and_kept_ones_are_answered_after_sigterm(
    served_settings: Settings, model: str, tmp_path: Path, data: bytes
) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(serving(served_settings, model, tmp_path / "output"))
        kept = [stack.enter_context(connected(service.port)) for _ in range(CLIENTS)]
        for connection in kept:
            connection.send(data)
            assert connection.answer().status == 200
        workers = service.workers
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        new = [stack.enter_context(connected(service.port)) for _ in range(CLIENTS)]
        for connection in kept + new:
            connection.send(data)
        for number in (signal.SIGTERM, signal.SIGCONT):  # the workers go on with SIGTERM
            for pid in workers:
                os.kill(pid, number)
        assert [connection.answer().status for connection in kept + new] == [200] * 2 * CLIENTS
        assert all(connection.closed() for connection in kept + new)


class Clients:
    """Clients that each send requests in their own thread until the service does not take one more."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.outcomes: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._run, args=(client,))
            for client in [self._keep] * CLIENTS + [self._reconnect] * CLIENTS
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, client: Callable[[], str]) -> None:
        while (outcome := client()) == "answered":
            self.outcomes[outcome] += 1
        self.outcomes[outcome] += 1

    def _keep(self) -> str:
        """Send on one connection until an answer closes it."""
        connection = self._connect()
        if connection is None:
            return "refused"
        try:
            while True:
                connection.send(post())
                if connection.answer().headers.get("connection") == "close":
                    return "answered"
                self.outcomes["answered"] += 1
        except AssertionError:
            return "lost"
        finally:
            connection.close()

    def _reconnect(self) -> str:
        """Send one request on a new connection."""
        connection = self._connect()
        if connection is None:
            return "refused"
        try:
            connection.send(post())
            return "answered" if connection.answer().status == 200 else "lost"
        except AssertionError:
            return "lost"
        finally:
            connection.close()

    def _connect(self) -> RawConnection | None:
        try:
            return RawConnection(self.service.port)
        except (ConnectionRefusedError, TimeoutError):
            return None


@pytest.mark.slow
def test_every_request_of_clients_that_send_all_the_time_is_answered_or_refused_before_it_is_sent(
    served_settings: Settings, model: str, tmp_path: Path
) -> None:
    with serving(served_settings, model, tmp_path / "output") as service:
        clients = Clients(service)
        clients.start()
        wait_until(lambda: clients.outcomes["answered"] > 20 * CLIENTS, 60)
        service.process.send_signal(signal.SIGTERM)
        clients.join()
        service.process.wait(30)
    assert clients.outcomes["refused"] == 2 * CLIENTS
    assert clients.outcomes["lost"] == 0


@pytest.mark.slow
def test_while_one_of_the_workers_ends_by_sigterm_no_request_is_lost(
    served_settings: Settings, model: str, tmp_path: Path
) -> None:
    with serving(served_settings, model, tmp_path / "output") as service:
        clients = Clients(service)
        clients.start()
        wait_until(lambda: clients.outcomes["answered"] > 20 * CLIENTS, 60)
        first, other = service.workers
        os.kill(first, signal.SIGTERM)
        service.until(lambda: len(service.workers) == 2 and first not in service.workers and other in service.workers)
        service.process.send_signal(signal.SIGTERM)
        clients.join()
        service.process.wait(30)
    assert clients.outcomes["lost"] == 0
