"""What a session of several steps says when another Machine comes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import apsw
import pytest
from tests.backend.replication.simulation.world import Machine
from tests.backend.replication.virtual import bucket, insert, insist, machine, play, select

from app.replication.session import ReplicatedSession
from app.sync.interface import SyncConflict, SyncStatus, SyncUnavailable


def adding(row: int) -> Callable[[apsw.Connection], None]:
    def change(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO row VALUES (?, 'x')", (row,))

    return change


def rows(connection: apsw.Connection) -> list[int]:
    return [row for (row,) in connection.execute("SELECT id FROM row")]


def refuse_if_row_7_is_there(connection: apsw.Connection) -> None:
    if 7 in rows(connection):
        raise Refusal("row 7 is taken")


async def two(folder: Path) -> tuple[Machine, Machine, ReplicatedSession]:
    """Two Machines of one profile, and a session on the first, which holds it."""
    store = bucket(0.01, 0.02)
    one, other = machine(store, folder / "one"), machine(store, folder / "other", read_check=0.0)
    await insert(one, 0)
    return one, other, ReplicatedSession(one.replica, "folder/")


async def let_another_come_between(one: Machine, other: Machine, row: int) -> None:
    """The other Machine writes, and the first one notices by an upload of its own that is refused."""
    await insist(other, row)
    with pytest.raises(Exception, match="belongs to another writer"):
        await insert(one, row + 1)


def test_a_write_behind_a_read_that_no_longer_holds_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        one, other, session = await two(tmp_path)
        assert await session.read(rows) == [0]
        await let_another_come_between(one, other, 10)
        with pytest.raises(SyncConflict):
            await session.write(adding(1))
        assert session.status is SyncStatus.CONFLICT
        assert await select(other, "SELECT id FROM row") == [0, 10]

    play(run)


def test_a_request_of_which_a_part_was_kept_is_not_told_that_nothing_was(tmp_path: Path) -> None:
    async def run() -> None:
        one, other, session = await two(tmp_path)
        await session.write(adding(1))
        await session.settle()
        await let_another_come_between(one, other, 10)
        with pytest.raises(SyncUnavailable):
            await session.write(adding(2))
        assert session.status is SyncStatus.FAILED
        assert await select(other, "SELECT id FROM row") == [0, 1, 10]

    play(run)


def test_what_became_durable_before_another_machine_came_is_settled(tmp_path: Path) -> None:
    async def run() -> None:
        one, other, session = await two(tmp_path)
        await session.write(adding(1))
        _, ticket = await one.replica.read(rows)
        await one.replica.settle(ticket)
        await let_another_come_between(one, other, 10)
        assert await session.settle() is SyncStatus.SYNCED
        assert 1 in await select(other, "SELECT id FROM row")

    play(run)


def test_the_position_of_a_write_outlives_the_copy_that_it_was_made_on(tmp_path: Path) -> None:
    """A full disk, for one, drops the copy. With a lower position the client would not be sure to see its write."""

    async def run() -> None:
        one, other, session = await two(tmp_path)
        await session.write(adding(1))
        _, ticket = await one.replica.read(rows)
        await one.replica.settle(ticket)
        await one.replica.copy.dropped(OSError("the disk is full"))
        assert await session.settle() is SyncStatus.SYNCED
        assert session.position is not None
        # A copy that ends before the write must be brought up to the position.
        again = ReplicatedSession(other.replica, "folder/", session.position)
        assert 1 in await again.read(rows)
        assert session.position == other.replica.position

    play(run)


def test_a_write_that_another_machine_forestalled_is_a_conflict_and_its_repeat_succeeds(tmp_path: Path) -> None:
    async def run() -> None:
        one, other, session = await two(tmp_path)
        await insist(other, 10)
        await session.write(adding(1))
        with pytest.raises(SyncConflict):
            await session.settle()
        again = ReplicatedSession(one.replica, "folder/")
        await again.write(adding(1))
        assert await again.settle() is SyncStatus.SYNCED
        assert await select(other, "SELECT id FROM row") == [0, 1, 10]

    play(run)


def test_a_write_is_refused_when_another_machines_change_came_in_since_the_session_read(tmp_path: Path) -> None:
    """What the session concluded from its read may not hold any more, although nothing that it read was taken back."""

    async def run() -> None:
        one, other, session = await two(tmp_path)
        assert await session.read(rows) == [0]
        await insist(other, 10)
        await one.sleep(2.0)
        # A read of somebody else on this Machine brings the other Machine's row in.
        assert await select(one, "SELECT id FROM row") == [0, 10]
        with pytest.raises(SyncConflict):
            await session.write(adding(1))
        assert session.status is SyncStatus.CONFLICT
        await insert(one, 2)
        assert await select(other, "SELECT id FROM row") == [0, 2, 10]

    play(run)


def test_a_write_is_refused_when_the_claim_that_it_needs_brings_a_change_in(tmp_path: Path) -> None:
    async def run() -> None:
        one, other, _ = await two(tmp_path)
        await select(other, "SELECT id FROM row")
        session = ReplicatedSession(other.replica, "folder/")
        assert await session.read(rows) == [0]
        await insert(one, 5)
        with pytest.raises(SyncConflict):
            await session.write(adding(1))
        await insist(other, 2)
        assert await select(other, "SELECT id FROM row") == [0, 2, 5]

    play(run)


def test_a_session_that_only_reads_goes_on_when_another_machines_change_comes_in(tmp_path: Path) -> None:
    async def run() -> None:
        one, other, session = await two(tmp_path)
        assert await session.read(rows) == [0]
        await insist(other, 10)
        await one.sleep(2.0)
        assert await session.read(rows) == [0, 10]
        assert await session.settle() is SyncStatus.SYNCED

    play(run)


def test_a_claim_alone_replaces_no_view(tmp_path: Path) -> None:
    """A Machine that has only claimed the profile has changed nothing that a decision could rest on."""

    async def run() -> None:
        store = bucket(0.01, 0.02)
        one, other = machine(store, tmp_path / "one"), machine(store, tmp_path / "other")
        await insert(one, 0)
        session = ReplicatedSession(other.replica, "folder/")
        assert await session.read(rows) == [0]
        await session.write(adding(1))
        assert await session.settle() is SyncStatus.SYNCED

    play(run)


def test_another_machines_claim_alone_replaces_no_view(tmp_path: Path) -> None:
    """The same where the claim is another Machine's, and was taken in before the session writes."""

    async def run() -> None:
        one, other, session = await two(tmp_path)
        assert await session.read(rows) == [0]
        assert await select(other, "SELECT id FROM row") == [0]
        await other.replica.claims.claim()
        await one.sleep(2.0)
        assert await select(one, "SELECT id FROM row") == [0]
        assert not one.replica.copy.owning
        await session.write(adding(1))
        assert await session.settle() is SyncStatus.SYNCED

    play(run)


def test_a_write_of_a_client_that_has_seen_a_newer_state_is_not_refused_for_it(tmp_path: Path) -> None:
    """The first Machine still takes itself for the owner; the client's position tells it that it is not."""

    async def run() -> None:
        one, other, _ = await two(tmp_path)
        await insist(other, 10)
        session = ReplicatedSession(one.replica, "folder/", other.replica.position)
        await session.write(adding(1))
        assert await session.settle() is SyncStatus.SYNCED
        assert await select(other, "SELECT id FROM row") == [0, 1, 10]

    play(run)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_a_write_beside_a_read_that_looks_far_back_is_not_told_as_a_conflict_with_itself(
    tmp_path: Path, delay: float
) -> None:
    """Nothing was verified for half the retention, so the read lists; the list has the file that this Machine is just
    uploading."""

    async def run() -> None:
        one = machine(bucket(0.1, 0.1), tmp_path / "one", read_check=1.0)
        await insert(one, 0)
        await one.sleep(2.0)
        verified = one.replica.log.verified
        assert verified is not None
        one.replica.log.verified = verified - 16 * 86400
        reading = asyncio.ensure_future(select(one, "SELECT count(*) FROM row"))
        await one.sleep(delay)
        session = ReplicatedSession(one.replica, "folder/")
        await session.write(adding(1))
        assert await session.settle() is SyncStatus.SYNCED
        await reading
        assert await select(one, "SELECT id FROM row") == [0, 1]

    play(run)


class Refusal(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("raises", [True, False])
def test_a_refusal_is_judged_on_the_state_that_another_machine_has_written(tmp_path: Path, raises: bool) -> None:
    """The first Machine still takes itself for the owner; nothing that it uploads would tell it otherwise."""

    async def run() -> None:
        _, other, session = await two(tmp_path)
        await insist(other, 10)

        def unless_there(connection: apsw.Connection) -> str:
            if 10 not in rows(connection):
                if raises:
                    raise Refusal("there is no row 10")
                return "nothing done"
            adding(1)(connection)
            return "done"

        assert await session.write(unless_there) == "done"
        assert await session.settle() is SyncStatus.SYNCED
        assert await select(other, "SELECT id FROM row") == [0, 1, 10]

    play(run)


def test_a_refusal_leaves_only_when_the_state_that_it_was_judged_on_is_durable(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.1, 0.1), tmp_path / "one")
        await insert(one, 0)
        written = asyncio.ensure_future(insert(one, 7))
        session = ReplicatedSession(one.replica, "folder/")

        await one.sleep(0.01)
        with pytest.raises(Refusal):
            await session.write(refuse_if_row_7_is_there)
        await session.settle()
        assert written.done()
        await written

    play(run)


def test_a_refusal_waits_for_a_commit_that_its_look_did_not(tmp_path: Path) -> None:
    """The look may be over although what the request judged was committed behind the last upload."""

    async def run() -> None:
        one = machine(bucket(0.1, 0.1), tmp_path / "one")
        await insert(one, 0)
        written = asyncio.ensure_future(insert(one, 7))
        session = ReplicatedSession(one.replica, "folder/")

        await one.sleep(0.01)
        looked = mock.patch.object(one.replica, "_was_overtaken", mock.AsyncMock(return_value=False))
        with looked, pytest.raises(Refusal):
            await session.write(refuse_if_row_7_is_there)
        assert not written.done()
        await session.settle()
        assert written.done()
        await written

    play(run)
