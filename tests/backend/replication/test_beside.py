"""Someone beside a busy writer is served in bounded time, and who is far behind catches up in a bounded number of
calls. In virtual time: no figure depends on this computer."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from tests.backend.replication.simulation.beside import Busy, played

from app.replication.errors import Lost
from app.replication.log import Options

_LATENCIES = [(0.1, 0.1), (0.05, 0.2)]
# Round trips, and the pause before a repeat now and then.
_SOON = 15.0


@pytest.mark.parametrize("latency", _LATENCIES)
@pytest.mark.parametrize("clients", [1, 2, 4, 8])
def test_a_claimant_beside_a_writer_that_never_pauses_is_told_so_or_gets_through_in_bounded_time(
    tmp_path: Path, clients: int, latency: tuple[float, float]
) -> None:
    """Requests are sent to the owner; who claims all the same may lose every TXID to it, and must hear of it soon."""

    async def play() -> float:
        world = Busy(tmp_path, latency, Options())
        await world.keep_busy(world.machine(), clients)
        other = world.machine()

        async def once() -> None:
            with contextlib.suppress(Lost):
                await other.replica.write(lambda c: c.execute("INSERT INTO row VALUES (-1, 'x')"))

        return await world.took(once())

    assert played(play) < _SOON


@pytest.mark.parametrize("latency", _LATENCIES)
def test_a_read_of_a_claimant_does_not_wait_for_its_claim(tmp_path: Path, latency: tuple[float, float]) -> None:
    async def play() -> float:
        world = Busy(tmp_path, latency, Options())
        await world.keep_busy(world.machine(), 4)
        other = world.machine()
        claiming = world.took(world.write(other))
        took, _ = await asyncio.gather(world.took(world.read(other)), claiming)
        return took

    assert played(play) < _SOON


@pytest.mark.parametrize("read_check", [0.0, 1.0])
@pytest.mark.parametrize("latency", [*_LATENCIES, (1.0, 1.4)])
@pytest.mark.parametrize("clients", [1, 4, 8])
def test_a_read_on_a_busy_writer_is_answered(
    tmp_path: Path, clients: int, latency: tuple[float, float], read_check: float
) -> None:
    async def play() -> float:
        world, longest = Busy(tmp_path, latency, Options(read_check=read_check)), 0.0
        machine = world.machine()
        await world.keep_busy(machine, clients, think=0.3)
        for _ in range(5):
            longest = max(longest, await world.took(world.read(machine)))
        return longest

    assert played(play) < 6 * latency[1] + 1


@pytest.mark.parametrize("behind", [50, 500])
def test_a_write_of_a_machine_far_behind_a_quiet_one_costs_a_bounded_number_of_calls(
    tmp_path: Path, behind: int
) -> None:
    async def play() -> int:
        world = Busy(tmp_path, (0.1, 0.1), Options())
        writer, other = world.machine(), world.machine()
        await world.write(writer)
        await world.write(other)
        for _ in range(behind):
            await world.write(writer)
        before = other.store.calls
        await world.write(other)
        return other.store.calls - before

    # A list and the files of a plan: at most 31 of a level, and few beside them.
    assert played(play) <= 80


def test_a_writer_whose_clock_ran_on_while_it_was_stopped_is_soon_itself_again(tmp_path: Path) -> None:
    async def play() -> float:
        world = Busy(tmp_path, (0.1, 0.1), Options())
        machine = world.machine()
        clients = await world.keep_busy(machine, 4)
        # A process that is stopped, unlike a Machine that is suspended: its clock says that the upload took hours.
        machine.clock.leap(8 * 3600)
        await asyncio.sleep(1)
        for client in clients:
            client.cancel()
        return await world.took(world.write(machine))

    assert played(play) < _SOON
