"""Saves: changes only, never torn."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, ORIGIN, SETTINGS
from tests.parity.r2.lab import Lab, lab

from parity.config.errors import ConfigError
from parity.r2 import lifecycle, locks
from parity.r2.admin import Admin
from parity.r2.content import BlobFolder, Content, ContentWriter
from parity.r2.cors import CorsRule
from parity.r2.store.persist import Saves

LARGE = b"L" * (2 << 20)


async def _filled(folder: Path, *bodies: bytes) -> None:
    async with lab(replace(SETTINGS, state=folder)) as ask:
        for number, body in enumerate(bodies):
            await ask("PUT", f"/{BUCKET}/k{number}", body=body)


async def _bodies(ask: Lab, count: int) -> list[bytes]:
    return [(await ask("GET", f"/{BUCKET}/k{number}")).body for number in range(count)]


async def test_only_what_changed_is_written(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=b"1")
        assert await ask.service.save()
        before = {path.name: path.stat().st_ino for path in (tmp_path / "blobs").iterdir()}
        assert not await ask.service.save()
        await ask("PUT", f"/{BUCKET}/other", body=b"2")
        assert await ask.service.save()
        after = {path.name: path.stat().st_ino for path in (tmp_path / "blobs").iterdir()}
        assert before.items() <= after.items()
        assert len(after) == 2


async def test_bodies_of_deleted_objects_go_with_the_second_save_after(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=LARGE)
        await ask.service.save()
        for number in range(3):
            await ask("DELETE")
            await ask("PUT", f"/{BUCKET}/other", body=b"%d" % number)
            await ask.service.save()
        sizes = [path.stat().st_size for path in (tmp_path / "blobs").iterdir()]
        assert max(sizes) < len(LARGE)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("tear", [_truncate, _flip, Path.unlink])
async def test_a_torn_manifest_is_passed_over_for_the_one_before(tmp_path: Path, tear: Callable[[Path], None]) -> None:
    await _filled(tmp_path, b"0", LARGE)
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", f"/{BUCKET}/k0", body=b"newer")
    tear(tmp_path / "manifest.json")
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        assert await _bodies(ask, 2) == [b"0", LARGE]


@pytest.mark.parametrize(
    ("tear", "problem"),
    [
        (_truncate, "is missing or not 2097152 bytes long"),
        (Path.unlink, "is missing or not 2097152 bytes long"),
        (_flip, "is not what was written"),
    ],
)
async def test_a_save_with_a_torn_body_is_refused_with_what_to_do(
    tmp_path: Path, tear: Callable[[Path], None], problem: str
) -> None:
    await _filled(tmp_path, LARGE)
    for blob in (tmp_path / "blobs").iterdir():
        tear(blob)
    with pytest.raises(ConfigError, match=rf"{problem}[\s\S]*remove the folder"):
        async with lab(replace(SETTINGS, state=tmp_path)):
            pass
    assert (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("size", [10, 2 << 20])
async def test_a_save_with_a_torn_body_is_passed_over_for_the_one_before(tmp_path: Path, size: int) -> None:
    await _filled(tmp_path, b"0", LARGE)
    before = set((tmp_path / "blobs").iterdir())
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", f"/{BUCKET}/k0", body=b"n" * size)
    for blob in set((tmp_path / "blobs").iterdir()) - before:
        _flip(blob)
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        assert await _bodies(ask, 2) == [b"0", LARGE]


async def test_a_torn_manifest_does_not_take_the_place_of_the_one_that_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _filled(tmp_path / "live", b"0", LARGE)
    async with lab(replace(SETTINGS, state=tmp_path / "live")) as ask:
        await ask("PUT", f"/{BUCKET}/k0", body=b"newer")
    _flip(tmp_path / "live" / "manifest.json")
    rename = Path.replace

    def replace_until_the_crash(self: Path, target: Path) -> Path:
        if self.name == "manifest.part":
            shutil.copytree(tmp_path / "live", tmp_path / "crashed")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace_until_the_crash)
    async with lab(replace(SETTINGS, state=tmp_path / "live")) as ask:
        await ask("PUT", f"/{BUCKET}/k2", body=b"2")
        await ask.service.save()
        monkeypatch.undo()
    async with lab(replace(SETTINGS, state=tmp_path / "crashed")) as ask:
        assert await _bodies(ask, 2) == [b"0", LARGE]


async def test_bodies_are_on_the_disk_before_the_manifest_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=LARGE)
        await ask("PUT", f"/{BUCKET}/small", body=b"1")
        monkeypatch.setattr(os, "fsync", note)
        await ask.service.save()
        bodies = {path.name for path in (tmp_path / "blobs").iterdir()}
        assert (len(bodies), set(synced[:2])) == (2, bodies)
        assert synced[2:] == ["blobs", "manifest.part", tmp_path.name]


async def _until(holds: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    while not holds():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_a_save_that_fails_is_told_and_the_next_one_is_made_all_the_same(tmp_path: Path) -> None:
    live, copied = tmp_path / "live", tmp_path / "copied"
    async with lab(replace(SETTINGS, state=live, save_seconds=0.02)) as ask:
        transport = httpx.ASGITransport(Admin(ask.service).app())
        async with httpx.AsyncClient(transport=transport, base_url="http://r2") as admin:
            await _until((live / "manifest.json").exists)
            assert (await admin.get("/r2/healthz")).status_code == 200
            # What is to be written is in the way.
            (live / "manifest.part").mkdir()
            await ask("PUT", f"/{BUCKET}/k0", body=b"1")
            await _until(lambda: bool(ask.service.save_problem))
            told = await admin.get("/r2/healthz")
            assert (told.status_code, "manifest.part" in told.text) == (503, True)
            (live / "manifest.part").rmdir()
            await _until(lambda: not ask.service.save_problem)
            assert (await admin.get("/r2/healthz")).status_code == 200
            shutil.copytree(live, copied)
    async with lab(replace(SETTINGS, state=copied)) as ask:
        assert await _bodies(ask, 1) == [b"1"]


async def test_a_stop_amid_a_save_waits_for_it_before_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, began, met, save = threading.Lock(), threading.Event(), threading.Event(), Saves.save

    def slow(self: Saves, state: dict[str, Any]) -> None:
        if not busy.acquire(blocking=False):
            met.set()
            raise OSError("another save is under way")
        began.set()
        # Time for the last save to begin, if it does not wait.
        met.wait(0.2)
        save(self, state)
        busy.release()

    monkeypatch.setattr(Saves, "save", slow)
    async with lab(replace(SETTINGS, state=tmp_path, save_seconds=0.001)) as ask:
        await ask("PUT", f"/{BUCKET}/k0", body=b"1")
        await _until(began.is_set)
        await ask("PUT", f"/{BUCKET}/k1", body=b"2")
    assert not met.is_set()
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        assert await _bodies(ask, 2) == [b"1", b"2"]


async def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    await _filled(tmp_path, b"0")
    path = tmp_path / "manifest.json"
    head, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(head), "format": 99}).encode() + b"\n" + body)
    with pytest.raises(ConfigError, match="it is not of format 2"):
        async with lab(replace(SETTINGS, state=tmp_path)):
            pass


async def test_what_a_killed_process_left_is_swept_and_the_last_save_is_there(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    async with lab(replace(SETTINGS, state=tmp_path / "live")) as ask:
        await ask("PUT", f"/{BUCKET}/k0", body=LARGE)
        await ask.service.save()
        await ask("PUT", f"/{BUCKET}/k1", body=LARGE)
        # The folder as it is this moment is what a SIGKILL would leave.
        shutil.copytree(tmp_path / "live", killed)
    (killed / "manifest.part").write_bytes(b"half")
    async with lab(replace(SETTINGS, state=killed)) as ask:
        assert [answer[:1] for answer in await _bodies(ask, 2)] == [b"L", b"<"]
        assert len(list((killed / "blobs").iterdir())) == 1


async def test_the_policy_file_counts_when_it_changed_since_the_last_start(tmp_path: Path) -> None:
    settings = replace(SETTINGS, state=tmp_path)
    put = "<CORSConfiguration><CORSRule><AllowedOrigin>https://put.example</AllowedOrigin>"
    put += "<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
    async with lab(settings) as ask:
        await ask("PUT", f"/{BUCKET}", query="cors=", body=put.encode(), token=ADMIN_TOKEN)
    async with lab(settings) as ask:
        assert ask.front.configured.cors[BUCKET][0].origins == ("https://put.example",)
    changed = (CorsRule((ORIGIN, "https://new.example"), ("GET",)),)
    async with lab(replace(settings, policy=changed)) as ask:
        assert ask.front.configured.cors[BUCKET] == changed


async def test_what_a_bucket_is_configured_with_survives_a_restart(tmp_path: Path) -> None:
    settings = replace(SETTINGS, state=tmp_path)
    lock = {"rules": [{"id": "l", "condition": {"type": "Age", "maxAgeSeconds": 100}}]}
    rules = {"Rules": [{"ID": "a", "Status": "Enabled", "Expiration": {"Days": 1}}]}
    async with lab(settings) as ask:
        await ask("PUT", "/another-bucket", token=ADMIN_TOKEN)
        await ask("DELETE", "/another-bucket", query="lifecycle=", token=ADMIN_TOKEN)
        ask.front.configured.locks[BUCKET] = locks.from_json(lock)
        ask.front.configured.lifecycles[BUCKET] = lifecycle.from_json(rules)
        before = ask.front.configured.to_json()
    async with lab(settings) as ask:
        assert ask.front.configured.to_json() == before
        assert (await ask("GET", "/another-bucket", query="lifecycle=", token=ADMIN_TOKEN)).status == 404


async def test_a_save_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    settings = replace(SETTINGS, state=tmp_path)
    async with lab(settings) as ask:
        await ask("PUT", headers={"x-amz-meta-a": "1"}, body=b"old")
    manifest = tmp_path / "manifest.json"
    state = json.loads(manifest.read_bytes().partition(b"\n")[2])
    state["policies"] = state.pop("configurations")["cors"]
    for entry in state["buckets"][0]["objects"]:
        for name in ("written_key", "checksum", "customer_key"):
            del entry[name]
    body = json.dumps(state).encode()
    manifest.write_bytes(json.dumps({"format": 2, "sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body)
    async with lab(settings) as ask:
        assert (await ask()).body == b"old"
        assert ask.front.configured.cors[BUCKET] == SETTINGS.policy


async def test_saving_goes_on_by_itself(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path, save_seconds=0.02)) as ask:
        await ask("PUT", body=b"1")
        await _until((tmp_path / "manifest.json").exists)


async def test_a_file_lives_as_long_as_something_refers_to_it(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=LARGE)
        _, read = await ask.service.store.open(BUCKET, "k")
        await ask("DELETE")
        assert b"".join([block async for block in read(0, len(LARGE))]) == LARGE
        del read
        assert list((tmp_path / "blobs").iterdir()) == []


def test_pieces_are_cut_at_any_place(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path)
    writer = ContentWriter(folder)
    writer.write(LARGE)
    whole = Content.join([Content.of(b"abc"), writer.finish(), Content.of(b""), Content.of(b"xyz")])
    expected = b"abc" + LARGE + b"xyz"
    for start, length in ((0, len(expected)), (1, 3), (2, 2), (len(expected) - 4, 4), (5, 0), (3, len(LARGE))):
        assert b"".join(whole.blocks(start, length)) == expected[start : start + length]
