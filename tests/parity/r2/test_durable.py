"""What is said and done about writes that a kill or a full disk would lose."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS, run_stand_in
from tests.parity.r2.lab import Lab, lab

from parity.certs import Certificates
from parity.r2.admin import Admin
from parity.r2.settings import R2Settings
from parity.r2.store.persist import Saves

LARGE = b"L" * (2 << 20)


def _killed(live: Path, copy: Path) -> R2Settings:
    """The settings of a start after a kill: the folder as it is this moment is what a SIGKILL leaves."""
    shutil.copytree(live, copy)
    return replace(SETTINGS, state=copy)


async def _health(ask: Lab) -> tuple[int, dict[str, object]]:
    transport = httpx.ASGITransport(Admin(ask.service).app())
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        answer = await client.get("/r2/healthz")
        return answer.status_code, answer.json()


async def test_a_start_after_a_kill_says_that_writes_may_be_missing_and_since_when(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with lab(replace(SETTINGS, state=tmp_path / "live")) as ask:
        await ask("PUT", body=b"saved")
        await ask.service.save()
        await ask("PUT", f"/{BUCKET}/lost", body=b"acknowledged")
        killed = _killed(tmp_path / "live", tmp_path / "killed")
        marked = json.loads((tmp_path / "killed" / "unsaved.json").read_text())["since"]
    async with lab(killed) as ask:
        assert (await ask()).body == b"saved"
        assert (await ask("GET", f"/{BUCKET}/lost")).status == 404
        assert ask.service.lost_since == marked
        assert (await _health(ask))[1]["writes_may_be_lost_since"] == marked
        assert "may be missing" in capsys.readouterr().err
    async with lab(killed) as ask:
        assert ask.service.lost_since is None


async def test_a_kill_after_a_save_or_a_read_says_nothing(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path / "live")) as ask:
        await ask("GET")
        await ask("DELETE", f"/{BUCKET}/none")
        unchanged = _killed(tmp_path / "live", tmp_path / "unchanged")
        await ask("PUT", body=b"saved")
        await ask.service.save()
        saved = _killed(tmp_path / "live", tmp_path / "saved")
    for settings in (unchanged, saved):
        async with lab(settings) as ask:
            assert ask.service.lost_since is None


async def test_a_write_during_a_save_is_still_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=b"1")
        marked = Saves(tmp_path).unsaved_since()
        saving = asyncio.Event()
        save, loop = Saves.save, asyncio.get_running_loop()

        def slow(saves: Saves, state: dict[str, object]) -> None:
            loop.call_soon_threadsafe(saving.set)
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(written.wait(), 60), loop).result()
            save(saves, state)

        written = asyncio.Event()
        monkeypatch.setattr(Saves, "save", slow)
        task = asyncio.ensure_future(ask.service.save())
        await saving.wait()
        await ask("PUT", f"/{BUCKET}/later", body=b"2")
        written.set()
        await task
        monkeypatch.undo()
        since = Saves(tmp_path).unsaved_since()
        assert marked is not None
        assert since is not None
        assert since >= marked
        await ask.service.save()
        assert Saves(tmp_path).unsaved_since() is None


@pytest.mark.parametrize("writers", [1, 8])
async def test_with_durable_each_answered_write_survives_a_kill(tmp_path: Path, writers: int) -> None:
    async with lab(replace(SETTINGS, state=tmp_path / "live", durable=True)) as ask:
        answers = await asyncio.gather(
            *(ask("PUT", f"/{BUCKET}/k{number}", body=b"%d" % number) for number in range(writers))
        )
        killed = _killed(tmp_path / "live", tmp_path / "killed")
        assert {answer.status for answer in answers} == {200}
    async with lab(killed) as ask:
        assert ask.service.lost_since is None
        bodies = [(await ask("GET", f"/{BUCKET}/k{number}")).body for number in range(writers)]
        assert bodies == [b"%d" % number for number in range(writers)]


async def test_with_durable_parts_uploads_and_deletes_survive_too(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path / "live", durable=True)) as ask:
        await ask("PUT", body=b"deleted")
        upload = (await ask("POST", f"/{BUCKET}/parts", query="uploads=")).xml.findtext("{*}UploadId") or ""
        query = f"partNumber=1&uploadId={upload}"
        await ask("PUT", f"/{BUCKET}/parts", query=query, body=LARGE)
        await ask("DELETE")
        killed = _killed(tmp_path / "live", tmp_path / "killed")
    async with lab(killed) as ask:
        assert (await ask()).status == 404
        listed = await ask("GET", f"/{BUCKET}/parts", query=f"uploadId={upload}")
        assert [part.text for part in listed.xml.findall("{*}Part/{*}Size")] == [str(len(LARGE))]


@contextmanager
def _full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", full)
        patched.setattr(os, "posix_fallocate", full)
        patched.setattr(Path, "write_bytes", full)
        yield


async def test_a_full_disk_is_an_internal_error_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=LARGE)
        files = set((tmp_path / "blobs").iterdir())
        with _full_disk(monkeypatch):
            refused = await ask("PUT", body=LARGE)
            assert (refused.status, refused.code) == (500, "InternalError")
            status, told = await _health(ask)
            assert status == 503
            assert "No space left" in str(told["detail"])
            assert (await ask()).body == LARGE
            assert set((tmp_path / "blobs").iterdir()) == files
        assert (await _health(ask))[0] == 200
        assert (await ask("PUT", body=LARGE)).status == 200


async def test_with_durable_a_write_that_cannot_be_saved_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab(replace(SETTINGS, state=tmp_path, durable=True)) as ask:
        with _full_disk(monkeypatch):
            refused = await ask("PUT", body=b"small")
            assert (refused.status, refused.code) == (500, "InternalError")
        assert (await ask("PUT", body=b"small")).status == 200


def test_the_health_of_a_running_stand_in_is_good_again_after_a_full_disk(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_stand_in(replace(SETTINGS, state=tmp_path), certificates) as r2:
        s3 = r2.client()
        with _full_disk(monkeypatch), pytest.raises(Exception, match="InternalError"):
            s3.put_object(Bucket=BUCKET, Key="k", Body=LARGE)
        s3.put_object(Bucket=BUCKET, Key="k", Body=LARGE)
        assert httpx.get(f"{r2.admin_url}/r2/healthz", trust_env=False, timeout=60).status_code == 200
