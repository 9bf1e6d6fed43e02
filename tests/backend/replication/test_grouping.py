"""Which commits share a file, in virtual time: a PUT takes 200 ms, so what shares one waits once."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.backend.replication.simulation.loop import VirtualLoop
from tests.backend.replication.simulation.world import Bucket, Faults, Machine

from app.replication.core import Options

_WRITES = 10


def run(folder: Path, clients: int) -> tuple[int, float]:
    """Files that were created while each client wrote ``_WRITES`` rows, one after the other; the seconds it took."""

    async def play() -> tuple[int, float]:
        bucket = Bucket(random.Random(1), Faults(latency=(0.2, 0.2)))
        machine = Machine(bucket, folder, Options())

        async def write(row: int) -> None:
            _, ticket = await machine.replica.write(lambda c: c.execute("INSERT INTO row VALUES (?, 'x')", (row,)))
            await machine.replica.settle(ticket)

        async def client(number: int) -> None:
            for turn in range(_WRITES):
                await write(number * _WRITES + turn)

        await write(-1)
        created, began = len(bucket.created), asyncio.get_running_loop().time()
        await asyncio.gather(*(client(number) for number in range(clients)))
        took = asyncio.get_running_loop().time() - began
        await machine.replica.close()
        return len(bucket.created) - created, took

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(play())
    finally:
        loop.close()


def test_clients_that_write_again_at_once_share_each_file(tmp_path: Path) -> None:
    files, _ = run(tmp_path, clients=8)
    # The first write of all leaves at once and alone; from then on a file holds one commit of each client.
    assert files <= _WRITES + 2


def test_a_lone_client_never_waits_for_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, took = run(tmp_path / "a", clients=1)
    monkeypatch.setattr("app.replication.uploader._GATHERING", 0.0)
    assert (files, took) == run(tmp_path / "b", clients=1)
    assert files == _WRITES
