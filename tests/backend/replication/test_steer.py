import asyncio
import random
from pathlib import Path

import pytest
from tests.backend.replication.simulation.world import Bucket, Faults, Machine

from app.replication.core import Options


@pytest.mark.timeout(20)
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
