"""What operators do with a replica, as functions and as the command that they type."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import apsw
import pytest
from tests.backend.fakes import FakeStore
from tests.backend.replication.conftest import PROFILE, REPLICA, Machines, Server
from tests.backend.replication.fleet import BACKEND, environment

from app.db import schema
from app.replication.__main__ import main
from app.replication.errors import Damaged, NothingThere, Refused
from app.replication.layout import FileRef, transaction
from app.replication.local import PAGE_SIZE
from app.replication.log import Options
from app.replication.ltx import Header, decode, encode
from app.replication.operator import Dated, Operator, plan_before
from app.replication.replica import Replica
from app.storage.r2 import R2Store

FIRST_STAMP = 1_790_000_000_000


@pytest.fixture
async def fleet(tmp_path: Path, store: FakeStore) -> AsyncIterator[Machines]:
    """Machines on the store in memory, whose wall clocks go on by ten seconds at each look."""
    made = Machines(tmp_path, store, Options(read_check=0.0, snapshot_share=1e9))
    clock = [FIRST_STAMP]

    def wall() -> int:
        clock[0] += 10_000
        return clock[0]

    made.wall = wall
    yield made
    await made.close()


@pytest.fixture
def operator(store: FakeStore) -> Operator:
    return Operator(store, PROFILE)


async def put(replica: Replica, key: str) -> None:
    _, ticket = await replica.write(
        lambda connection: connection.execute("INSERT OR REPLACE INTO settings VALUES (?, '1', 'now')", (key,))
    )
    await replica.settle(ticket)


def keys_in(path: Path) -> set[str]:
    connection = apsw.Connection(str(path))
    found = {key for (key,) in connection.execute("SELECT key FROM settings")}
    connection.close()
    return found


def a_database(path: Path, key: str, *, page_size: int = 4096) -> bytes:
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", page_size)
    schema.migrate(connection)
    connection.execute("INSERT INTO settings VALUES (?, '1', 'now')", (key,))
    connection.close()
    return path.read_bytes()


async def test_every_moment_can_be_restored(fleet: Machines, operator: Operator, tmp_path: Path) -> None:
    replica = fleet.start()
    for number in range(5):
        await put(replica, f"k{number}")
    dated = await operator.dated(await operator.files())
    stamps = {file.ref.max_txid: file.header.timestamp for file in dated if file.header}
    last = max(stamps)
    for txid, stamp in stamps.items():
        out = tmp_path / f"{txid}.db"
        # Just before a file's own time it is not part of the state; just after it is.
        assert await operator.restore(out, (stamp + 1) / 1000) == txid
        assert keys_in(out) == {f"k{number}" for number in range(max(0, txid - (last - 5)))}
    assert await operator.restore(tmp_path / "newest.db") == last
    with pytest.raises(NothingThere, match="the oldest file is of 2026-09-21"):
        await operator.restore(tmp_path / "none.db", FIRST_STAMP / 1000)
    assert not (tmp_path / "none.db").exists()


async def test_a_restore_overwrites_nothing_and_leaves_nothing_of_a_damaged_replica(
    fleet: Machines, operator: Operator, store: FakeStore, tmp_path: Path
) -> None:
    await put(fleet.start(), "k")
    out = tmp_path / "out" / "a.db"
    out.parent.mkdir()
    out.write_bytes(b"mine")
    with pytest.raises(Refused, match="exists"):
        await operator.restore(out)
    assert out.read_bytes() == b"mine"
    out.unlink()
    name = REPLICA + transaction(2).name
    data, etag, kind = store.objects[name]
    store.objects[name] = (data[:-1], etag, kind)
    with pytest.raises(Damaged, match=transaction(2).name):
        await operator.restore(out)
    assert list(out.parent.iterdir()) == []


async def test_a_sound_replica_is_verified_with_its_merged_files(
    fleet: Machines, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.replication.layout.FANOUT", 3)
    monkeypatch.setattr("app.replication.maintenance.FANOUT", 3)
    fleet.options = Options(read_check=0.0, snapshot_share=0.1)
    replica = fleet.start()
    for number in range(30):
        await put(replica, f"k{number}")
    await replica.close()
    files = await operator.files()
    assert {file.level for file in files} >= {0, 1, 9}
    report = await operator.verify(tmp_path / "scratch")
    assert report.problems == ()
    assert (report.files, report.txid) == (len(files), max(file.max_txid for file in files))


@pytest.mark.parametrize("harm", ["cut", "gap", "wrong merge", "wrong snapshot", "unsound"])
async def test_each_harm_is_found_and_named(
    fleet: Machines, operator: Operator, store: FakeStore, tmp_path: Path, harm: str
) -> None:
    replica = fleet.start()
    for number in range(4):
        await put(replica, f"k{number}")
    await replica.close()
    second = REPLICA + transaction(2).name
    whole = {txid: decode(store.objects[REPLICA + transaction(txid).name][0]) for txid in (1, 2, 3)}

    def keep(ref: FileRef, data: bytes) -> str:
        store.objects[REPLICA + ref.name] = (data, '"x"', "")
        return ref.name

    match harm:
        case "cut":
            named = keep(transaction(2), store.objects[second][0][:-3])
        case "gap":
            del store.objects[second]
            named = f"TXID {2:016x} is missing"
        case "wrong merge" | "wrong snapshot":
            # Another header over the first file's pages alone: what the others changed is missing.
            header = replace(whole[3].header, min_txid=1)
            named = keep(FileRef(1 if harm == "wrong merge" else 9, 1, 3), encode(header, whole[1].pages.items()))
        case _:
            header = Header(PAGE_SIZE, whole[1].header.commit, 1, 9, 5, 5)
            pages = {n: page if n == 1 else bytes(PAGE_SIZE) for n, page in whole[1].pages.items()}
            keep(FileRef(9, 1, 9), encode(header, pages.items()))
            named = "the newest state: "
    report = await operator.verify(tmp_path / "scratch")
    assert any(problem.startswith(named) or named in problem for problem in report.problems), report.problems


async def test_an_import_takes_the_whole_file_over_once(
    fleet: Machines, operator: Operator, store: FakeStore, tmp_path: Path
) -> None:
    with pytest.raises(NothingThere, match="neither"):
        await operator.take_over(tmp_path / "scratch")
    await store.put_bytes(PROFILE.database, a_database(tmp_path / "old.sqlite", "old", page_size=1024))
    with pytest.raises(NothingThere, match="`import` takes it over"):
        await operator.files()
    assert await operator.take_over(tmp_path / "scratch") == 1
    assert await operator.take_over(tmp_path / "scratch") is None
    rows, _ = await fleet.start().read(lambda connection: connection.execute("SELECT key FROM settings").get)
    assert rows == "old"


async def test_a_file_replaces_a_database_only_when_told_and_machines_go_on_with_it(
    fleet: Machines, operator: Operator, tmp_path: Path
) -> None:
    replica = fleet.start()
    await put(replica, "before")
    data = a_database(tmp_path / "mine.sqlite", "imported", page_size=16384)
    with pytest.raises(Refused, match="--replace"):
        await operator.replace(data, tmp_path / "scratch")
    txid = await operator.replace(data, tmp_path / "scratch", over=True)
    rows, ticket = await replica.read(lambda connection: connection.execute("SELECT key FROM settings").get)
    await replica.settle(ticket)
    assert rows == "imported"
    await put(replica, "after")
    await operator.restore(tmp_path / "out.db")
    assert keys_in(tmp_path / "out.db") == {"imported", "after"}
    # What was replaced can still be had.
    stamp = next(file.header.timestamp for file in await operator.dated([transaction(txid - 1)]) if file.header)
    assert await operator.restore(tmp_path / "earlier.db", (stamp + 1) / 1000) == txid - 1
    assert keys_in(tmp_path / "earlier.db") == {"before"}
    assert (await operator.verify(tmp_path / "scratch")).problems == ()


@pytest.mark.parametrize("harm", ["corrupt", "gap"])
async def test_an_import_mends_a_damaged_profile_also_where_a_machine_stands_before_the_damage(
    fleet: Machines, operator: Operator, store: FakeStore, tmp_path: Path, harm: str
) -> None:
    behind, writer = fleet.start(), fleet.start()
    await put(writer, "k0")
    await behind.read(lambda connection: None)
    await put(writer, "k1")
    await put(writer, "k2")
    await writer.close()
    broken = REPLICA + transaction(3).name
    if harm == "gap":
        del store.objects[broken]
    else:
        store.objects[broken] = (b"LTX1", '"x"', "")
        with pytest.raises(Damaged, match=transaction(3).name):
            await behind.read(lambda connection: None)
    assert (await operator.verify(tmp_path / "scratch")).problems != ()
    await operator.replace(a_database(tmp_path / "mine.sqlite", "mended"), tmp_path / "scratch", over=True)
    for replica in (fleet.start(), *([behind] if harm == "corrupt" else [])):
        rows, _ = await replica.read(lambda connection: connection.execute("SELECT key FROM settings").fetchall())
        assert rows == [("mended",)]
        await put(replica, "mended")
    await operator.restore(tmp_path / "out.db")
    assert keys_in(tmp_path / "out.db") == {"mended"}


async def test_what_is_no_database_or_too_new_is_not_imported(
    operator: Operator, store: FakeStore, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="not a sound database"):
        await operator.replace(b"noise" * 1000, tmp_path / "scratch")
    path = tmp_path / "new.sqlite"
    a_database(path, "k")
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 999)
    connection.close()
    with pytest.raises(Refused, match="schema version 999"):
        await operator.replace(path.read_bytes(), tmp_path / "scratch")
    assert store.objects == {}


def test_the_first_file_that_is_not_before_a_moment_ends_what_is_restored() -> None:
    def at(ref: FileRef, seconds: int) -> Dated:
        return Dated(ref, Header(4096, 1, ref.min_txid, ref.max_txid, seconds * 1000, 1))

    files = [at(transaction(n), seconds) for n, seconds in ((1, 10), (2, 20), (3, 50), (4, 30), (5, 60))]
    assert plan_before(files, 40) == [transaction(1), transaction(2)]
    assert plan_before([*files, at(FileRef(9, 1, 3), 35)], 40) == [FileRef(9, 1, 3), transaction(4)]
    assert plan_before([*files, at(FileRef(1, 1, 4), 55)], 58) == [FileRef(1, 1, 4)]
    with pytest.raises(NothingThere):
        plan_before(files, 10)


def settings_for(server: Server, **settings: str) -> dict[str, str]:
    given = {"R2_ENDPOINT": server.url, "R2_BUCKET": "bucket", "AWS_CA_BUNDLE": str(server.ca), **settings}
    return {**environment(**given), "PATH": os.environ["PATH"]}


async def test_a_process_of_the_command_prints_its_answer_and_ends_with_its_code(
    server: Server, machines: Machines
) -> None:
    await put(machines.start(), "k")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command, env = [sys.executable, "-m", "app.replication", *arguments], settings_for(server)
        return subprocess.run(command, cwd=BACKEND, env=env, capture_output=True, text=True, timeout=300)

    sound = await asyncio.to_thread(run, "verify", "--user", "alice", "--profile", "main")
    assert (sound.returncode, "sound" in sound.stdout, sound.stderr) == (0, True, ""), sound
    wrong = await asyncio.to_thread(run, "verify", "--user", "../x", "--profile", "main")
    assert (wrong.returncode, wrong.stdout, "../x" in wrong.stderr) == (2, "", True), wrong


async def test_the_command_says_what_it_did_and_ends_with_a_code_for_each_outcome(
    server: Server, r2: R2Store, machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: twenty processes would take twenty seconds and more."""

    def run(*arguments: str) -> int:
        try:
            return main(arguments)
        except SystemExit as end:
            return int(end.code or 0)

    async def command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        with mock.patch.dict(os.environ, settings_for(server, **settings), clear=True):
            code = await asyncio.to_thread(run, *arguments)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    who = ("--user", "alice", "--profile", "main")
    out = str(tmp_path / "out.db")
    empty = await command("verify", *who)
    assert (empty.returncode, REPLICA in empty.stderr) == (4, True)
    mine = tmp_path / "mine.sqlite"
    a_database(mine, "mine")
    assert (await command("import", *who, str(mine))).returncode == 0
    assert (await command("import", *who, str(mine))).returncode == 5
    await put(machines.start(), "k")
    listed = await command("list", *who)
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == [transaction(n).name for n in (1, 2, 3)]
    sound = await command("verify", *who)
    assert (sound.returncode, "sound" in sound.stdout) == (0, True), sound
    restored = await command("restore", *who, "-o", out)
    assert (restored.returncode, keys_in(Path(out))) == (0, {"mine", "k"})
    assert (await command("restore", *who, "-o", out)).returncode == 5
    assert (await command("restore", *who, "-o", out + "2", "--at", "2020-01-01T00:00:00Z")).returncode == 4
    for wrong in (
        ("restore", *who, "-o", out, "--at", "yesterday"),
        ("restore", *who, "-o", str(tmp_path / "none" / "deep" / "out.db")),
        ("list", "--user", "../x", "--profile", "p"),
        ("import", *who, str(tmp_path / "none.sqlite")),
        ("import", *who, "--replace"),
    ):
        assert (await command(*wrong)).returncode == 2
    assert not (tmp_path / "none").exists()
    assert (await command("list", *who, R2_BUCKET="NO BUCKET")).returncode == 2
    await r2.put_bytes(REPLICA + transaction(2).name, b"LTX1")
    broken = await command("verify", *who)
    assert (broken.returncode, transaction(2).name in broken.stderr) == (1, True)
    for asking in ("verify", "list"):
        denied = await command(asking, *who, R2_SECRET_ACCESS_KEY="wrong")
        assert (denied.returncode, denied.stdout, "403" in denied.stderr) == (3, "", True), denied
