"""Which commits share a file, in virtual time: a PUT takes 200 ms, so what shares one waits once."""

import asyncio
import random
from pathlib import Path

from tests.backend.replication.simulation.loop import VirtualLoop
from tests.backend.replication.simulation.world import Bucket, Faults, Machine

from app.replication.log import Options

_WRITES = 10


def run(folder: Path, clients: int) -> int:
    """Files that were created while each client wrote ``_WRITES`` rows, one after the other."""

    async def play() -> int:
        bucket = Bucket(random.Random(1), Faults(latency=(0.2, 0.2)))
        machine = Machine(bucket, folder, Options())

        async def write(row: int) -> None:
            _, ticket = await machine.replica.write(lambda c: c.execute("INSERT INTO row VALUES (?, 'x')", (row,)))
            await machine.replica.settle(ticket)

        async def client(number: int) -> None:
            for turn in range(_WRITES):
                await write(number * _WRITES + turn)

        await write(-1)
        created = len(bucket.created)
        await asyncio.gather(*(client(number) for number in range(clients)))
        await machine.replica.close()
        return len(bucket.created) - created

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(play())
    finally:
        loop.close()


def test_clients_that_write_again_at_once_share_each_file(tmp_path: Path) -> None:
    # The first write of all leaves at once and alone; from then on a file holds one commit of each client.
    assert run(tmp_path, clients=8) <= _WRITES + 2


def test_a_commit_waits_for_its_own_file_and_for_no_later_one(tmp_path: Path) -> None:
    """While there is always something to upload, an answer leaves when its own file is there."""

    async def play() -> float:
        machine = Machine(Bucket(random.Random(1), Faults(latency=(0.2, 0.2))), tmp_path, Options())
        loop, longest = asyncio.get_running_loop(), 0.0

        async def write(row: int, delay: float) -> None:
            nonlocal longest
            await asyncio.sleep(delay)
            began = loop.time()
            _, ticket = await machine.replica.write(lambda c: c.execute("INSERT INTO row VALUES (?, 'x')", (row,)))
            await machine.replica.settle(ticket)
            longest = max(longest, loop.time() - began)

        await write(-1, 0.0)
        longest = 0.0
        await asyncio.gather(*(write(row, row * 0.03) for row in range(100)))
        await machine.replica.close()
        return longest

    loop = VirtualLoop()
    try:
        # The rest of the upload that is on its way, and the own one.
        assert loop.run_until_complete(play()) < 0.45
    finally:
        loop.close()
