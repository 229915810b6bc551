"""Group commit, with a commit that the test holds up or lets fail."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from ratchet.errors import UnavailableError
from ratchet.store.group_commit import Group, GroupCommit

pytestmark = pytest.mark.anyio


class Commits:
    """Doubles each item once the test allows it, and keeps the groups."""

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.error: Exception | None = None
        self.groups: list[list[int]] = []
        self.reports: list[tuple[list[int], list[int]]] = []

    def commit(self, group: Group[int, int]) -> list[int]:
        assert self.allowed.wait(30)
        if self.error:
            raise self.error
        self.groups.append(group.join())
        return [2 * item for item in self.groups[-1]]

    def report(self, group: Group[int, int], results: Sequence[int]) -> None:
        self.reports.append((group.items, list(results)))
        raise OSError("a report that fails costs nothing")


@pytest.fixture
def commits() -> Commits:
    return Commits()


@contextlib.asynccontextmanager
async def running(commits: Commits, **options: Any) -> AsyncIterator[GroupCommit[int, int]]:
    """A group commit, stopped when the block ends."""
    options = {"limit": 100, "capacity": 1000, "timeout": 30.0, **options}
    group_commit = GroupCommit("numbers", commits.commit, commits.report, **options)
    group_commit.start()
    try:
        yield group_commit
    finally:
        commits.allowed.set()
        await group_commit.stop()


async def until_depth(group_commit: GroupCommit[int, int], depth: int) -> None:
    async with asyncio.timeout(10):
        while group_commit.depth != depth:
            await asyncio.sleep(0.001)


async def test_each_request_gets_the_results_of_its_items(commits: Commits) -> None:
    async with running(commits) as group_commit:
        requests = [asyncio.create_task(group_commit.write(items)) for items in ([1, 2], [], [3], [4, 5, 6])]
        await until_depth(group_commit, 6)
        commits.allowed.set()
        assert await asyncio.gather(*requests) == [[2, 4], [], [6], [8, 10, 12]]
        assert group_commit.depth == 0
    assert commits.reports == [([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12])]


async def test_requests_that_arrive_before_a_transaction_begins_join_it(commits: Commits) -> None:
    async with running(commits) as group_commit:
        requests = []
        for number in range(20):
            requests.append(asyncio.create_task(group_commit.write([number])))
            await asyncio.sleep(0.001)
        commits.allowed.set()
        await asyncio.gather(*requests)
    assert commits.groups == [list(range(20))]


async def test_no_request_joins_a_transaction_that_has_reached_the_limit(commits: Commits) -> None:
    async with running(commits, limit=5) as group_commit:
        requests = []
        for start in range(0, 20, 2):
            requests.append(asyncio.create_task(group_commit.write([start, start + 1])))
            await asyncio.sleep(0.001)
        commits.allowed.set()
        await asyncio.gather(*requests)
    assert [item for group in commits.groups for item in group] == list(range(20))
    assert max(map(len, commits.groups)) <= 6


async def test_more_items_than_the_capacity_are_refused_at_once(commits: Commits) -> None:
    async with running(commits, capacity=3) as group_commit:
        first = asyncio.create_task(group_commit.write([1, 2]))
        await until_depth(group_commit, 2)
        with pytest.raises(UnavailableError, match="the queue of numbers is full"):
            await group_commit.write([3, 4])
        second = asyncio.create_task(group_commit.write([5]))
        await until_depth(group_commit, 3)
        commits.allowed.set()
        assert await asyncio.gather(first, second) == [[2, 4], [10]]
        assert await group_commit.write([6, 7, 8]) == [12, 14, 16]


async def test_items_that_are_large_count_for_more(commits: Commits) -> None:
    async with running(commits, capacity=100, limit=50, size_of=sum) as group_commit:
        requests = [asyncio.create_task(group_commit.write([40])) for _ in range(2)]
        await until_depth(group_commit, 80)
        with pytest.raises(UnavailableError, match="the queue of numbers is full"):
            await group_commit.write([21])
        requests.append(asyncio.create_task(group_commit.write([1])))
        await until_depth(group_commit, 81)
        commits.allowed.set()
        await asyncio.gather(*requests)
        assert group_commit.depth == 0
    assert max(map(sum, commits.groups)) < 50 + 40


async def test_a_request_fails_when_its_commit_takes_too_long(commits: Commits) -> None:
    async with running(commits, timeout=0.2) as group_commit:
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="the store does not respond"):
            await group_commit.write([1])
        assert time.monotonic() - begun < 3
        assert group_commit.depth == 0
        group_commit._timeout = 30.0  # what follows may take as long as it needs
        commits.allowed.set()
        assert await group_commit.write([2]) == [4]


async def test_a_client_that_disconnects_does_not_affect_the_others(commits: Commits) -> None:
    async with running(commits) as group_commit:
        requests = [asyncio.create_task(group_commit.write([number])) for number in range(3)]
        await until_depth(group_commit, 3)
        requests[1].cancel()
        commits.allowed.set()
        assert await asyncio.gather(requests[0], requests[2]) == [[0], [4]]
        assert requests[1].cancelled()


async def test_all_waiting_requests_fail_with_a_commit_that_fails(commits: Commits) -> None:
    commits.error = UnavailableError("the store is down")
    async with running(commits) as group_commit:
        requests = []
        for number in range(10):
            requests.append(asyncio.create_task(group_commit.write([number])))
            await asyncio.sleep(0.001)
        commits.allowed.set()
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert {str(result) for result in results} == {"the store is down"}
        commits.error = None
        assert await group_commit.write([1]) == [2]


async def test_an_unexpected_error_of_a_commit_is_logged_and_the_next_commit_succeeds(
    commits: Commits, caplog: pytest.LogCaptureFixture
) -> None:
    commits.error = ZeroDivisionError("a bug")
    commits.allowed.set()
    async with running(commits) as group_commit:
        with pytest.raises(UnavailableError, match="numbers cannot be saved"):
            await group_commit.write([1])
        commits.error = None
        assert await group_commit.write([1]) == [2]
    assert "a bug" in caplog.text


async def test_stopping_commits_the_requests_that_wait_and_ends_the_thread(commits: Commits) -> None:
    async with running(commits) as group_commit:
        first = asyncio.create_task(group_commit.write([1]))
        await until_depth(group_commit, 1)
        late = asyncio.create_task(group_commit.write([2]))
        while group_commit.depth < 2:
            await asyncio.sleep(0)
        stop = asyncio.create_task(group_commit.stop())
        await asyncio.sleep(0)
        commits.allowed.set()
        async with asyncio.timeout(10):
            assert await asyncio.gather(first, late, stop) == [[2], [4], None]
    assert not any(thread.name == "numbers-commit" for thread in threading.enumerate())


async def test_a_callback_gets_the_results_on_the_event_loop_and_may_submit_the_next_request(commits: Commits) -> None:
    done: list[tuple[int, object]] = []
    async with running(commits) as group_commit:

        def then(results: object) -> None:
            done.append((threading.get_ident(), results))
            if len(done) == 1:
                group_commit.submit([2], then)
            raise ZeroDivisionError("a callback that fails does not affect the others")

        group_commit.submit([1], then)
        commits.allowed.set()
        assert await group_commit.write([3]) == [6]
        async with asyncio.timeout(10):
            while len(done) < 2:
                await asyncio.sleep(0.001)
    assert done == [(threading.get_ident(), [2]), (threading.get_ident(), [4])]


async def test_a_callback_is_called_once_even_if_its_commit_ends_after_the_timeout(commits: Commits) -> None:
    done: list[object] = []
    async with running(commits, timeout=0.1) as group_commit:
        group_commit.submit([1], done.append)
        with pytest.raises(UnavailableError, match="the store does not respond"):
            await group_commit.write([2])
        group_commit._timeout = 30.0  # what follows may take as long as it needs
        commits.allowed.set()
        assert await group_commit.write([3]) == [6]
    assert [str(each) for each in done] == ["the store does not respond"]


async def test_requests_of_one_turn_share_a_commit_up_to_the_limit(commits: Commits) -> None:
    commits.allowed.set()
    async with running(commits, limit=4) as group_commit:
        await asyncio.gather(*(group_commit.write([number]) for number in range(4)))
        await asyncio.gather(*(group_commit.write([number, number]) for number in range(10)))
    assert commits.groups[0] == [0, 1, 2, 3]
    assert all(len(group) == 4 for group in commits.groups[1:])


async def test_a_quick_commit_is_made_on_the_event_loop_for_all_requests_of_a_turn(commits: Commits) -> None:
    threads: list[int] = []
    commits.allowed.set()
    async with running(commits, is_quick=lambda: not threads.append(threading.get_ident())) as group_commit:
        assert await asyncio.gather(*(group_commit.write([number, number + 1]) for number in range(3))) == [
            [0, 2],
            [2, 4],
            [4, 6],
        ]
        assert commits.groups == [[0, 1, 1, 2, 2, 3]]
        assert threads == [threading.get_ident()]
        assert commits.reports == [([0, 1, 1, 2, 2, 3], [0, 2, 2, 4, 4, 6])]
        commits.error = ZeroDivisionError("a bug")
        with pytest.raises(UnavailableError, match="numbers cannot be saved"):
            await group_commit.write([1])
        commits.error = None
        assert await group_commit.write([1]) == [2]
        assert group_commit.depth == 0


async def test_a_quick_commit_does_not_overtake_the_thread(commits: Commits) -> None:
    quick = False
    async with running(commits, is_quick=lambda: quick) as group_commit:
        first = asyncio.create_task(group_commit.write([1]))
        await until_depth(group_commit, 1)
        quick = True
        second = asyncio.create_task(group_commit.write([2]))
        await until_depth(group_commit, 2)
        commits.allowed.set()
        assert await asyncio.gather(first, second) == [[2], [4]]
        assert await group_commit.write([3]) == [6]
