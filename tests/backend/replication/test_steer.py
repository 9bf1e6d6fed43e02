import asyncio
import random
from pathlib import Path

import apsw
import pytest
from tests.backend.replication.simulation.world import Bucket, Faults, Machine
from tests.backend.replication.virtual import bucket, insert, machine, play, select

from app.replication.log import Options
from app.replication.tasks import Signal, Tasks


@pytest.mark.timeout(600)  # seconds, on a loaded machine; one that spins never ends
async def test_a_read_that_meets_a_task_which_is_just_done_does_not_spin(tmp_path: Path) -> None:
    machine = Machine(Bucket(random.Random(1), Faults(latency=(0.0, 0.001))), tmp_path, Options(read_check=0.0))
    await machine.replica.write(lambda connection: connection.execute("INSERT INTO row VALUES (1, 'x')"))
    # A task that has ended, and whose callbacks have not run yet, still stands where the next caller looks.
    done = asyncio.ensure_future(asyncio.sleep(0))
    await done
    machine.replica.tasks._tasks["steer"] = done
    rows, ticket = await machine.replica.read(lambda connection: list(connection.execute("SELECT id FROM row")))
    await machine.replica.settle(ticket)
    assert rows == [(1,)]
    await machine.replica.close()


async def test_a_task_that_ended_does_not_take_the_place_of_the_next_one() -> None:
    """Its callbacks may run when another of its name has begun already, which must go on being known."""
    tasks, loop, go = Tasks(Signal()), asyncio.get_running_loop(), asyncio.Event()

    async def nothing() -> None:
        return

    async def waiting() -> None:
        await go.wait()

    first = tasks.start("name", nothing)
    begun: list[bool] = []

    def begin() -> None:
        begun.append(first.done())
        tasks.start("name", waiting)

    loop.call_soon(begin)
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == [True]
    assert "name" in tasks
    go.set()
    await tasks.end()
    assert not tasks


@pytest.mark.timeout(600)  # seconds, on a loaded machine; one that spins never ends
def test_a_refusal_on_a_copy_that_is_being_dropped_does_not_spin(tmp_path: Path) -> None:
    """Until the files are gone there is no database to look with, and no new one may be built."""

    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        copy, dropping = one.replica.copy, list[asyncio.Future[None]]()

        def change(_connection: apsw.Connection) -> str:
            if not dropping:
                dropping.append(asyncio.ensure_future(copy.dropped(OSError("the disk fails"))))
            return "nothing to do"

        result, ticket = await one.replica.write(change)
        await one.replica.settle(ticket)
        assert result == "nothing to do"
        assert await select(one, "SELECT id FROM row") == [0]
        await asyncio.gather(*dropping)

    play(run)
