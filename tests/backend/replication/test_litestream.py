"""The real Litestream restores what this app writes, byte for byte, and this app reads what Litestream writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from tests.backend.replication.conftest import BUCKET, PROFILE, REPLICA, GoTools, Machines, Server
from tests.backend.replication.go_tools import BUILD_SECONDS

from app.db import schema
from app.profiles import settings as profile_settings
from app.replication.layout import parse_name
from app.replication.log import Options
from app.replication.operator import Operator
from app.replication.replica import Replica
from app.storage.r2 import R2Store
from parity.r2.settings import Behaviour, change_behaviour

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 120)

SMALL = Options(read_check=0.0, snapshot_share=1e9)


def live(replica: Replica) -> bytes:
    """The durable state as a file."""
    database = replica.copy.database
    assert database is not None
    return b"".join(page for _, page in database.durable_image().pages)


def note(key: str, size: int = 40) -> Callable[[apsw.Connection], None]:
    def change(connection: apsw.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO settings VALUES (?, json_quote(hex(randomblob(?))), 'now')", (key, size)
        )

    return change


async def write(replica: Replica, change: Callable[[apsw.Connection], object]) -> None:
    _, ticket = await replica.write(change)
    await replica.settle(ticket)


async def at_rest(replica: Replica) -> None:
    """When maintenance is done too."""
    async with asyncio.timeout(120):
        while replica.busy:  # noqa: ASYNC110 - maintenance has no one who waits for it
            await asyncio.sleep(0.005)


async def levels(r2: R2Store) -> dict[int, int]:
    """How many files there are of each level."""
    found: dict[int, int] = {}
    for item in await r2.list(REPLICA):
        ref = parse_name(item.key.removeprefix(REPLICA))
        assert ref is not None, item.key
        found[ref.level] = found.get(ref.level, 0) + 1
    return found


async def test_transactions_alone_are_restored(machines: Machines, go_tools: GoTools, r2: R2Store) -> None:
    replica = machines.start()
    for number in range(5):
        await write(replica, note(f"k{number}", 3000))
    assert await go_tools.restore("-integrity-check", "full") == live(replica)
    assert await go_tools.verify_files(r2) == 6


async def test_merges_of_two_levels_and_a_snapshot_are_restored(
    machines: Machines, go_tools: GoTools, r2: R2Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.replication.layout.FANOUT", 4)
    monkeypatch.setattr("app.replication.maintenance.FANOUT", 4)
    replica = machines.start(options=SMALL)
    for number in range(40):
        await write(replica, note(f"k{number % 7}", 2000))
    await at_rest(replica)
    made = await levels(r2)
    assert set(made) == {0, 1, 2}
    assert await go_tools.restore("-integrity-check", "full") == live(replica)
    replica.options = Options(read_check=0.0, snapshot_share=0.0)
    for number in range(6):
        await write(replica, note(f"k{number}", 100))
    await at_rest(replica)
    assert (await levels(r2))[9] >= 1
    assert await go_tools.restore("-integrity-check", "full") == live(replica)
    await go_tools.verify_files(r2)
    report = await Operator(r2, PROFILE).verify(machines.folder / "scratch")
    assert report.problems == ()


async def test_a_vacuum_that_shrinks_is_restored(machines: Machines, go_tools: GoTools, r2: R2Store) -> None:
    replica = machines.start()
    await write(replica, note("large", 300_000))
    before = len(live(replica))
    await write(replica, lambda connection: connection.execute("DELETE FROM settings"))
    database = replica.copy.database
    assert database is not None
    database._open().execute("VACUUM")
    database._capture()
    await write(replica, note("small"))
    assert len(live(replica)) < before / 5
    assert await go_tools.restore("-integrity-check", "full") == live(replica)
    await go_tools.verify_files(r2)


async def test_a_migrated_schema_is_restored(machines: Machines, go_tools: GoTools) -> None:
    class Old:
        def is_behind(self, connection: apsw.Connection) -> bool:
            return schema.version(connection) < 1

        def migrate(self, connection: apsw.Connection) -> None:
            schema.migrate(connection, schema.all_migrations()[:1])

    old = machines.start(schema=Old())
    await write(old, note("kept"))
    new = machines.start()
    # A reader too must see the new schema; it is in the replica before it is shown.
    version, ticket = await new.read(schema.version)
    await new.settle(ticket)
    assert version == len(schema.all_migrations())
    assert await go_tools.restore("-integrity-check", "full") == live(new)


async def test_what_a_second_machine_took_over_is_restored(machines: Machines, go_tools: GoTools) -> None:
    first, second = machines.start(), machines.start()
    await write(first, note("a"))
    await write(second, note("b"))
    await write(second, note("c", 9000))
    assert await go_tools.restore("-integrity-check", "full") == live(second)
    rows, ticket = await first.read(lambda connection: connection.execute("SELECT key FROM settings").fetchall())
    await first.settle(ticket)
    assert await go_tools.restore() == live(first)
    assert {row[0] for row in rows} >= {"a", "b", "c"}


async def test_a_whole_file_database_that_was_taken_over_is_restored(
    machines: Machines, go_tools: GoTools, r2: R2Store, tmp_path: Path
) -> None:
    old = tmp_path / "old.sqlite"
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA page_size = 1024")
    connection.execute("CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at TEXT NOT NULL)")
    connection.execute("INSERT INTO settings VALUES ('theme', '\"dark\"', 'then')")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    await r2.put_bytes(PROFILE.database, old.read_bytes())
    replica = machines.start()
    found, ticket = await replica.read(profile_settings.read)
    await replica.settle(ticket)
    assert found.theme == "dark"
    assert await go_tools.restore("-integrity-check", "full") == live(replica)
    assert (await r2.get_bytes(PROFILE.database)).data == old.read_bytes()


async def test_a_moment_is_restored_by_both_alike(machines: Machines, go_tools: GoTools, r2: R2Store) -> None:
    clock = [1_790_000_000_000]
    machines.wall = lambda: clock[0]
    replica = machines.start()
    states = []
    for number in range(4):
        clock[0] += 10_000
        await write(replica, note(f"k{number}"))
        states.append((clock[0], live(replica)))
    for stamp, state in states[:-1]:
        moment = stamp / 1000 + 5
        text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        ours = machines.folder / f"{stamp}.db"
        await Operator(r2, PROFILE).restore(ours, moment)
        assert ours.read_bytes() == state
        config = machines.folder / "litestream.yml"
        config.write_text(_config(go_tools.server, machines.folder / "any.db", REPLICA))
        theirs = machines.folder / f"{stamp}-theirs.db"
        code, said = await go_tools.run(
            "litestream", "restore", "-config", str(config), "-timestamp", text, "-o", str(theirs),
            str(machines.folder / "any.db"),
        )  # fmt: skip
        assert code == 0, said
        assert theirs.read_bytes() == state


@pytest.mark.parametrize("page_size", [4096, 1024, 16384])
async def test_a_replica_that_litestream_wrote_is_opened_and_carried_on(
    machines: Machines, go_tools: GoTools, r2: R2Store, server: Server, page_size: int
) -> None:
    # Litestream uploads with unsigned trailers, which R2 may answer with 401.
    server.service.front.behave(_lenient(server))
    path = machines.folder / "theirs.db"
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", page_size)
    connection.pragma("journal_mode", "wal")
    schema.migrate(connection)
    connection.execute("INSERT INTO settings VALUES ('theme', '\"light\"', 'then')")
    config = machines.folder / "litestream.yml"
    config.write_text(_config(server, path, REPLICA))
    await _replicate(go_tools, config, r2, lambda: connection.execute("UPDATE settings SET value = '\"dark\"'"))
    connection.close()
    replica = machines.start()
    found, _ = await replica.read(profile_settings.read)
    assert found.theme == "dark"
    await write(replica, note("overlay_text", 10))
    assert replica.copy.database is not None
    assert replica.copy.database.page_size == page_size
    assert await go_tools.restore("-integrity-check", "full") == live(replica)
    assert (await Operator(r2, PROFILE).verify(machines.folder / "scratch")).problems == ()


async def _replicate(go_tools: GoTools, config: Path, r2: R2Store, change: Callable[[], object]) -> None:
    """Let Litestream replicate, change something while it does, and wait until it was uploaded."""
    from tests.backend.replication.go_tools import go_tool

    process = await asyncio.create_subprocess_exec(
        go_tool("litestream"), "replicate", "-config", str(config),
        env=go_tools.server.environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        before = await _grown(r2, 0)
        change()
        await _grown(r2, before)
    finally:
        process.terminate()
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


async def _grown(r2: R2Store, before: int) -> int:
    async with asyncio.timeout(120):
        while True:
            found = (await levels(r2)).get(0, 0)
            if found > before:
                return found
            await asyncio.sleep(0.05)


def _lenient(server: Server) -> Behaviour:
    return change_behaviour(server.service.front.behaviour, {"unsigned_streaming": "accept"})


def _config(server: Server, path: Path, prefix: str) -> str:
    return f"""
dbs:
  - path: {path}
    replica:
      type: s3
      bucket: {BUCKET}
      path: {prefix.rstrip("/")}
      endpoint: {server.url}
      region: auto
      force-path-style: true
      sync-interval: 100ms
"""
