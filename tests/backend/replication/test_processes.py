"""Backends that are killed and frozen at random under load: nothing that a client was told is lost.

``ROUNDS=200 RUN_SLOW=1 pytest -s tests/backend/replication/test_processes.py`` plays more and prints the figures;
``SEED`` plays other dice.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import httpx
import pytest
from tests.backend.replication.conftest import BUCKET, PROFILE, GoTools, Server
from tests.backend.replication.fleet import HEADERS, Backend, Clients, environment
from tests.backend.replication.go_tools import Unavailable, go_tool

from app.replication.operator import Operator
from app.storage.r2 import R2Store

ROUNDS = int(os.environ.get("ROUNDS", "12"))
SEED = int(os.environ.get("SEED", "1"))

Start = Callable[..., Backend]


@pytest.fixture
async def start(server: Server, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts backends on the stand-in; the profile exists."""
    running: list[Backend] = []

    def begin(disk: str = "") -> Backend:
        settings = environment(R2_ENDPOINT=server.url, R2_BUCKET=BUCKET, AWS_CA_BUNDLE=str(server.ca))
        running.append(Backend(settings, tmp_path / (disk or f"machine{len(running)}")))
        return running[-1]

    yield begin
    for backend in running:
        backend.close()


async def make_profile(backend: Backend) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        made = await client.post(f"{backend.url}/api/profiles", json={"name": "M", "id": "main"}, headers=HEADERS)
        assert made.status_code == 201, made.text


@pytest.mark.timeout(600 + 60 * ROUNDS)
async def test_kills_and_freezes_lose_nothing_acknowledged(
    start: Start, server: Server, r2: R2Store, tmp_path: Path
) -> None:
    rnd, begun = random.Random(SEED), time.monotonic()
    backends = [start(), start()]
    await asyncio.gather(*(backend.ready() for backend in backends))
    await make_profile(backends[0])
    clients = Clients(backends, 4, rnd)
    await clients.begin()
    ledger = clients.ledger
    kills = freezes = blocked = 0
    for number in range(ROUNDS):
        try:
            await clients.progress(rnd.randint(1, 12))
        except TimeoutError:
            pytest.fail(f"no write for five minutes in round {number}: {await clients.explain()}")
        await asyncio.sleep(rnd.uniform(0, 0.05))
        victim, other = clients.preferred, 1 - clients.preferred
        if rnd.random() < 0.5:
            kills += 1
            backends[victim].kill()
            clients.preferred = other
            backends[victim].start()
        else:
            freezes += 1
            backends[victim].signal(signal.SIGSTOP)
            clients.preferred = other
            clients.give_up(backends[victim])
            try:
                await clients.progress(rnd.randint(1, 12), seconds=3)
            except TimeoutError:
                # It may have frozen inside a PUT: then the stand-in answers 429 to every other writer of that TXID.
                blocked += 1
            backends[victim].signal(signal.SIGCONT)
        if number % 5 == 4:
            await backends[victim].ready()
    await clients.progress(5)
    await clients.stop()
    for backend in backends:
        backend.kill()

    report = await Operator(r2, PROFILE).verify(tmp_path / "scratch")
    restored = await _restored(server, r2, tmp_path)
    names, shared = _names(restored), _shared(restored, clients.project)
    took = time.monotonic() - begun
    for line in (
        f"{ROUNDS} rounds in {took:.0f} s, seed {SEED}",
        f"{kills} kills, {freezes} freezes, no write for 3 s in {blocked}",
        f"{len(ledger.acknowledged)} writes acknowledged, {len(ledger.acknowledged - names)} missing",
        f"{len(ledger.shown)} rows shown, {len(ledger.shown - names)} missing",
        f"{ledger.conflicts} conflicts, {ledger.unavailable} unavailable, {ledger.unknown} without an answer",
        f"{report.files} files, {report.bytes} bytes",
    ):
        sys.stdout.write(f"\n{line}")
    assert ledger.problems == []
    # An acknowledged change may only have given way to one that was asked for later.
    for part, (value, asked) in ledger.shared.items():
        assert shared[part] in {value, *asked}, f"{part}: {value} was acknowledged, then {asked} asked for"
    assert ledger.acknowledged - names == set()
    assert ledger.shown - names == set()
    assert report.problems == ()
    for backend in backends:
        assert "Traceback" not in backend.log, backend.log[-3000:]


async def _restored(server: Server, r2: R2Store, folder: Path) -> Path:
    """What the real Litestream restores, or our own restore where it cannot be had."""
    out = folder / "restored.db"
    try:
        go_tool("litestream")
    except Unavailable:
        await Operator(r2, PROFILE).restore(out)
    else:
        out.write_bytes(await GoTools(server, folder).restore("-integrity-check", "full"))
    return out


def _shared(path: Path, project: str) -> dict[str, str]:
    """The parts of the shared row."""
    connection = apsw.Connection(str(path))
    name, options = next(iter(connection.execute("SELECT name, options FROM projects WHERE id = ?", (project,))))
    connection.close()
    return {"name": name, "overlay_text": json.loads(options).get("overlay_text", "")}


def _names(path: Path) -> set[str]:
    connection = apsw.Connection(str(path))
    found = [name for (name,) in connection.execute("SELECT name FROM projects")]
    connection.close()
    assert len(found) == len(set(found))
    return set(found)


async def test_two_backends_that_both_serve_a_profile_tell_the_loser_to_come_again(start: Start, r2: R2Store) -> None:
    backends = [start(), start()]
    await asyncio.gather(*(backend.ready() for backend in backends))
    await make_profile(backends[0])
    told: set[int] = set()
    conflicts = 0
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers=HEADERS) as client:

        async def write(number: int) -> None:
            nonlocal conflicts
            while True:
                answer = await client.post(f"{backends[number % 2].url}/api/projects", json={"name": f"p{number}"})
                if answer.status_code == 201:
                    assert answer.headers["x-sync-status"] == "synced"
                    told.add(number)
                    return
                assert answer.status_code == 503, answer.text
                assert answer.headers["x-sync-status"] == "conflict"
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["content-type"] == "application/problem+json"
                conflicts += 1

        count = 0
        async with asyncio.timeout(240):
            while count < 24 or not conflicts:
                await asyncio.gather(*(write(number) for number in range(count, count + 4)))
                count += 4
        lists = [(await client.get(f"{backend.url}/api/projects")).json()["projects"] for backend in backends]
    assert [sorted(item["name"] for item in found) for found in lists] == [sorted(f"p{n}" for n in range(count))] * 2
    assert told == set(range(count))


async def test_two_processes_that_share_a_disk_lose_nothing(start: Start, r2: R2Store, tmp_path: Path) -> None:
    backends = [start("shared")]
    await backends[0].ready()
    await make_profile(backends[0])
    backends.append(start("shared"))
    await backends[1].ready()
    told: set[str] = set()
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers=HEADERS) as client:
        for number in range(24):
            answer = await client.post(f"{backends[number % 2].url}/api/projects", json={"name": f"p{number}"})
            if answer.status_code == 201:
                told.add(f"p{number}")
            else:
                assert answer.status_code == 503, answer.text
                assert answer.headers["x-sync-status"] in ("conflict", "failed")
    assert told
    assert (await Operator(r2, PROFILE).verify(tmp_path / "scratch")).problems == ()
    await Operator(r2, PROFILE).restore(tmp_path / "restored.db")
    assert told <= _names(tmp_path / "restored.db")
