"""Leases, on both kinds of database."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.store import leases
from ratchet.store.database import Store
from ratchet.store.tables import leases as lease_table
from tests.conftest import ROOT
from tests.store_rows import url_of
from tests.waiting import until


def expiry(store: Store) -> float:
    with store.reading() as connection:
        return float(connection.scalar(sa.select(lease_table.c.expires_at)) or 0)


def test_a_held_lease_is_refused_to_others_until_it_is_released(store: Store) -> None:
    with leases.held(store, "x") as first:
        assert leases.holder(store, "x") == first.holder
        assert leases.holder(store, "y") is None
        with pytest.raises(StateError, match=rf"x is held by {first.holder} for another \d+ s at most"):
            leases.acquire(store, "x", wait=0)
        with leases.fenced(store, first):
            pass
    assert leases.holder(store, "x") is None
    with leases.held(store, "x") as second:
        assert second.token > first.token


def test_a_lease_is_released_when_its_block_fails(store: Store) -> None:
    for renewed in (False, True):
        with pytest.raises(RuntimeError, match="broken"), leases.held(store, "x", renewed=renewed):
            raise RuntimeError("broken")
        assert leases.holder(store, "x") is None


def test_an_error_of_the_block_is_raised_even_if_the_lease_cannot_be_released(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise StateError("the store is down")

    monkeypatch.setattr(leases, "release", fail)
    with pytest.raises(RuntimeError, match="broken"), leases.held(store, "x", ttl=0.1):
        raise RuntimeError("broken")
    assert "the lease on x was not released: the store is down" in caplog.text
    until(lambda: leases.holder(store, "x") is None)


def test_a_waiting_process_gets_the_lease_after_its_release(store: Store) -> None:
    first = leases.acquire(store, "x")
    timer = threading.Timer(0.2, lambda: leases.release(store, first))
    timer.start()
    assert leases.acquire(store, "x", wait=10).token == 2
    timer.join()


def test_an_expired_lease_is_granted_again_and_its_first_holder_may_not_write(store: Store) -> None:
    first = leases.acquire(store, "x", ttl=0.01)
    until(lambda: leases.expired(store, "x") is not None)
    with leases.fenced(store, first):
        assert leases.holder(store, "x") is None, "it has expired, but no other process has taken it"
    second = leases.acquire(store, "x")
    with (
        pytest.raises(StateError, match=r"the lease on x \(token 1\) was taken over by another"),
        leases.fenced(store, first),
    ):
        pass
    leases.release(store, first)
    assert leases.holder(store, "x") == second.holder


def test_an_expired_lease_is_not_granted_while_its_holder_writes(store: Store) -> None:
    lease = leases.acquire(store, "x", ttl=0.5)
    taken: list[int] = []
    with leases.fenced(store, lease):
        until(lambda: leases.expired(store, "x") is not None)
        thread = threading.Thread(target=lambda: taken.append(leases.acquire(store, "x").token))
        thread.start()
        thread.join(0.3)
        assert taken == [], "the lease has expired, but its holder writes"
        with store.transaction() as connection:
            connection.execute(sa.insert(lease_table).values(name="other", token=1, expires_at=0.0))
    thread.join(20)
    assert taken == [2]


def test_a_lease_that_was_never_granted_may_not_be_written_under(store: Store) -> None:
    assert leases.expired(store, "x") is None
    with pytest.raises(StateError), leases.fenced(store, leases.Lease("x", "me", 1)):
        pass


def test_a_renewed_lease_outlives_its_time(store: Store) -> None:
    with leases.held(store, "x", ttl=2, renewed=True) as lease:
        first = expiry(store)
        until(lambda: expiry(store) > first + 2)
        assert leases.holder(store, "x") == lease.holder
        with pytest.raises(StateError, match=r"x is held by .* for another \d+ s at most"):
            leases.acquire(store, "x", wait=0)
    assert leases.holder(store, "x") is None


def test_a_lease_is_not_waited_for_longer_than_asked(store: Store) -> None:
    with leases.held(store, "x") as first:
        begun = time.monotonic()
        with pytest.raises(StateError, match=f"x is held by {first.holder}"), leases.held(store, "x", wait=0.0):
            pass
        assert time.monotonic() - begun < 5
        assert leases.holder(store, "x") == first.holder


def test_a_lease_that_another_process_has_taken_is_no_longer_renewed(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with leases.held(store, "x", ttl=0.2, renewed=True) as lease:
        with store.transaction() as connection:
            taken = {"holder": "host:1:elsewhere:1", "token": lease.token + 1, "expires_at": time.time() + 60}
            connection.execute(sa.update(lease_table).values(**taken))
        until(lambda: "the lease on x was taken over by another process" in caplog.text)
    assert leases.holder(store, "x") == "host:1:elsewhere:1", "the first holder does not release it"


def test_only_the_holder_of_a_lease_can_renew_it(store: Store) -> None:
    first = leases.acquire(store, "x", ttl=0.01)
    until(lambda: leases.holder(store, "x") is None)
    assert leases.renew(store, first, 30), "it has expired, but no other process has taken it"
    assert leases.holder(store, "x") == first.holder
    leases.release(store, first)
    assert not leases.renew(store, first, 30), "a released lease is not renewed"
    second = leases.acquire(store, "x")
    assert not leases.renew(store, first, 30)
    assert leases.holder(store, "x") == second.holder


@pytest.mark.parametrize("fenced", [False, True])
def test_the_lease_of_a_process_that_was_killed_is_free_at_once(store: Store, fenced: bool) -> None:
    program = (
        "import contextlib, os, signal, sys\n"
        "from ratchet.store import leases\n"
        "from ratchet.store.database import Store\n"
        "store = Store(sys.argv[1])\n"
        "lease = leases.acquire(store, 'x', ttl=600)\n"
        "with leases.fenced(store, lease) if sys.argv[2] == 'True' else contextlib.nullcontext():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, url_of(store), str(fenced)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert leases.holder(store, "x") is None
    assert leases.expired(store, "x") is not None
    assert leases.acquire(store, "x", wait=0).token == 2


def test_only_a_holder_on_this_machine_is_to_be_ended(store: Store) -> None:
    with leases.held(store, "x"):
        with pytest.raises(StateError, match="wait, or end that process"):
            leases.acquire(store, "x", wait=0.0)
        with store.transaction() as connection:
            connection.execute(sa.update(lease_table).values(holder="other:1:0badcafe:1"))
        with pytest.raises(StateError, match=r"x is held by other:1:.*: wait until that process") as told:
            leases.acquire(store, "x", wait=0.0)
    assert "end that process" not in str(told.value)
