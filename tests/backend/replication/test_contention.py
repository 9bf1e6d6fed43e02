"""Nobody waits without end for a Machine that is busy, and who is far behind comes up with a few calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tests.backend.replication.simulation.world import Machine
from tests.backend.replication.virtual import Clients, bucket, execute, insert, insist, machine, play, select

import app.replication.handover as handover


@asynccontextmanager
async def deaf_owner(folder: Path) -> AsyncIterator[Machine]:
    """A Machine beside an owner that writes without a pause and never looks whether it is asked to give way."""
    store = bucket()
    owner, claimant = machine(store, folder / "owner"), machine(store, folder / "claimant")
    with mock.patch.object(handover, "request_due", return_value=False):
        await insert(owner, 1)
        async with Clients(owner, 1):
            await asyncio.sleep(5)
            yield claimant


LATENCIES = [(0.02, 0.02), (0.1, 0.1), (0.05, 0.2), (0.1, 0.4)]


@pytest.mark.parametrize("latency", LATENCIES, ids=str)
@pytest.mark.parametrize("clients", [1, 2, 8])
def test_a_claimant_beside_a_busy_writer_gets_its_write_through(
    clients: int, latency: tuple[float, float], tmp_path: Path
) -> None:
    async def run() -> None:
        store = bucket(*latency)
        owner, claimant = machine(store, tmp_path / "owner"), machine(store, tmp_path / "claimant")
        await insert(owner, 1)
        async with Clients(owner, clients) as busy:
            await asyncio.sleep(5)
            async with asyncio.timeout(30):
                await insert(claimant, 2)
            # The other one takes it back, and gives it away again.
            await asyncio.sleep(5)
            async with asyncio.timeout(30):
                await insist(claimant, 3)
        assert {1, 2, 3} | busy.acknowledged <= set(await select(claimant, "SELECT id FROM row"))
        assert len(busy.acknowledged) > 20
        async with asyncio.timeout(30):
            while store.requests:  # noqa: ASYNC110 - what was asked for is taken back beside everything else
                await asyncio.sleep(0.1)

    play(run)


def test_without_requests_a_claimant_never_gets_in_between(tmp_path: Path) -> None:
    async def run() -> None:
        async with deaf_owner(tmp_path) as claimant:
            with pytest.raises(Exception, match="belongs to another writer"):
                await asyncio.wait_for(insert(claimant, 2), 60)

    play(run)


@pytest.mark.parametrize("read_check", [0.0, 1.0])
@pytest.mark.parametrize("latency", [(0.1, 0.2), (0.6, 0.8), (1.0, 1.4)], ids=str)
@pytest.mark.parametrize("clients", [2, 8])
def test_a_read_on_a_busy_owner_waits_for_no_more_than_some_uploads(
    clients: int, latency: tuple[float, float], read_check: float, tmp_path: Path
) -> None:
    async def run() -> None:
        owner = machine(bucket(*latency), tmp_path, read_check=read_check)
        await insert(owner, 1)
        async with Clients(owner, clients):
            for _ in range(5):
                async with asyncio.timeout(4 * latency[1]):
                    assert 1 in await select(owner, "SELECT id FROM row")

    play(run)


def test_a_read_does_not_wait_for_a_claim_that_others_forestall(tmp_path: Path) -> None:
    async def run() -> None:
        async with deaf_owner(tmp_path) as claimant:
            claim = asyncio.ensure_future(insert(claimant, 2))
            await asyncio.sleep(1)
            for _ in range(3):
                async with asyncio.timeout(2):
                    assert 1 in await select(claimant, "SELECT id FROM row")
            assert not claim.done()
            claim.cancel()
            await asyncio.gather(claim, return_exceptions=True)

    play(run)


@pytest.mark.parametrize("behind", [3, 50, 500])
def test_a_write_far_behind_a_quiet_machine_takes_few_calls(behind: int, tmp_path: Path) -> None:
    async def run() -> int:
        store = bucket(0.01, 0.01)
        other, late = machine(store, tmp_path / "other"), machine(store, tmp_path / "late")
        await insert(other, 0)
        await insert(late, -1)
        for row in range(1, behind):
            await insist(other, row)
        await asyncio.sleep(5)
        calls = 0
        honest: Any = late.replica.store._call  # type: ignore[attr-defined]

        async def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            return await honest(*arguments, **options)

        late.replica.store._call = counted  # type: ignore[attr-defined]
        await insist(late, -2)
        assert {*range(behind), -1, -2} == set(await select(late, "SELECT id FROM row"))
        return calls

    # The files themselves, at most 31 of each level, a look ahead, a claim that fails, one that succeeds, lists.
    assert play(run) <= min(behind, 62) + 20


def test_an_owner_that_pauses_is_never_asked_and_never_looks(tmp_path: Path) -> None:
    async def run() -> None:
        store = bucket()
        one, other = machine(store, tmp_path / "one"), machine(store, tmp_path / "other")
        asked: list[int] = []
        for each in (one, other):
            honest = each.replica.store.take_request

            async def noted(node: int, honest: Any = honest) -> bool:
                asked.append(node)
                return bool(await honest(node))

            each.replica.store.take_request = noted  # type: ignore[method-assign]
        for row in range(20):
            await insist((one, other)[row % 2], row)
            await asyncio.sleep(2)
        assert (asked, store.requests) == ([], set())
        assert len(await select(one, "SELECT id FROM row")) == 20

    play(run)


def test_a_write_that_was_let_in_between_is_seen_by_the_owner(tmp_path: Path) -> None:
    async def run() -> None:
        store = bucket(0.05, 0.1)
        owner, claimant = machine(store, tmp_path / "owner"), machine(store, tmp_path / "claimant", read_check=0.0)
        await insert(owner, 1)
        async with Clients(owner, 4) as busy:
            await asyncio.sleep(3)
            await execute(claimant, "INSERT INTO row VALUES (2, 'let in')")
            await asyncio.sleep(3)
        assert await select(owner, "SELECT pad FROM row WHERE id = 2") == ["let in"]
        assert busy.acknowledged <= set(await select(claimant, "SELECT id FROM row"))

    play(run)
