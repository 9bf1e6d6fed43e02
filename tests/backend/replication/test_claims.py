"""What a claim and a release put into the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.backend.replication.virtual import bucket, execute, insert, insist, machine, play, select

from app.replication.layout import highest


def test_an_owner_claims_nothing_again(tmp_path: Path) -> None:
    """A background claim and a write's own may both be wanted; the second one finds that this Machine owns it."""

    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path, machine="one")
        await insert(one, 0)
        reached = highest(one.bucket.refs())
        await one.replica.claims.claim()
        assert highest(one.bucket.refs()) == reached

    play(run)


def test_a_machine_without_a_name_has_nothing_to_release(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        reached = highest(one.bucket.refs())
        await one.replica.close(release_seconds=20.0)
        assert highest(one.bucket.refs()) == reached

    play(run)


def test_a_machine_that_holds_no_copy_learns_that_a_profile_has_moved(tmp_path: Path) -> None:
    """It opens nothing, and asks again when the interval of a read is over."""

    async def run() -> None:
        store = bucket(0.01, 0.02)
        one, two, three = (machine(store, tmp_path / name, machine=name) for name in ("one", "two", "three"))
        await insert(one, 0)
        assert await three.replica.elsewhere() == "one"
        await insist(two, 1)
        await asyncio.sleep(2.0)
        assert await three.replica.elsewhere() == "two"
        assert three.replica.copy.database is None

    play(run)


@pytest.mark.parametrize("release_seconds", [0.0, 20.0])
def test_a_machine_that_stops_in_order_stores_what_is_under_way_before_it_releases(
    tmp_path: Path, release_seconds: float
) -> None:
    async def run() -> None:
        one = machine(bucket(0.1, 0.1), tmp_path, machine="one")
        await insert(one, 0)
        writing = asyncio.ensure_future(insert(one, 1))
        await asyncio.sleep(0.01)
        assert one.replica.copy.pending
        await one.replica.close(release_seconds=release_seconds)
        await writing
        assert one.bucket.owner == ("" if release_seconds else "one")

    play(run)


def test_a_release_that_meets_a_commit_leaves_the_profile_as_it_is(tmp_path: Path) -> None:
    """Its file would have the size of a database whose new pages the replica does not hold."""

    async def run() -> None:
        one = machine(bucket(0.1, 0.1), tmp_path / "one", machine="one")
        await insert(one, 0)
        turn = one.replica.copy._turn
        async with turn:
            writing = asyncio.ensure_future(execute(one, "INSERT INTO row VALUES (1, randomblob(20000))"))
            await asyncio.sleep(0.1)
            releasing = asyncio.ensure_future(one.replica.claims.release())
            await asyncio.sleep(0.1)
        await asyncio.gather(writing, releasing)
        assert one.bucket.owner == "one"
        other = machine(one.bucket, tmp_path / "other", machine="other")
        assert await select(other, "SELECT id FROM row") == [0, 1]

    play(run)
