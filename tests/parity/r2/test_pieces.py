"""Small bodies are in memory up to a limit; the older ones become files, and nobody can tell."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Lab, lab

from parity.r2 import pieces
from parity.r2.content import BlobFolder
from parity.r2.pieces import Inline

KIB = 1 << 10
BODIES = [bytes([number]) * (100 * KIB) for number in range(20)]


@pytest.fixture(autouse=True)
def room_for_three_and_a_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MEMORY_LIMIT", 350 * KIB)


async def _fill(ask: Lab) -> None:
    for number, body in enumerate(BODIES):
        await ask("PUT", f"/{BUCKET}/k{number}", body=body)


async def _read(ask: Lab) -> list[bytes]:
    return [(await ask("GET", f"/{BUCKET}/k{number}")).body for number in range(len(BODIES))]


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "blobs").iterdir())


async def test_what_is_over_the_limit_is_in_files_and_read_from_there(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await _fill(ask)
        assert ask.front.folder.resident.size == 300 * KIB
        assert len(_files(tmp_path)) == 17
        assert await _read(ask) == BODIES
        answer = await ask("GET", f"/{BUCKET}/k0", headers={"range": "bytes=99-200"})
        assert answer.body == BODIES[0][99:201]
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        assert await _read(ask) == BODIES


async def test_what_was_replaced_or_deleted_takes_no_room(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        for body in BODIES:
            await ask("PUT", body=body)
        assert (ask.front.folder.resident.size, _files(tmp_path)) == (100 * KIB, [])
        await _fill(ask)
        for number in range(len(BODIES)):
            await ask("DELETE", f"/{BUCKET}/k{number}")
        await ask("DELETE")
        assert (ask.front.folder.resident.size, _files(tmp_path)) == (0, [])


async def test_a_body_that_was_saved_leaves_memory_without_being_written_again(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=BODIES[0])
        await ask.service.save()
        saved = _files(tmp_path)
        for number in range(4):
            await ask("PUT", f"/{BUCKET}/k{number}", body=BODIES[number])
        # The saved one, the oldest, and with it the first of the others, which had to be written.
        assert len(set(_files(tmp_path)) - set(saved)) == 1
        assert (await ask("GET")).body == BODIES[0]


async def test_parts_of_an_object_leave_memory_too(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        begun = await ask("POST", f"/{BUCKET}/parts", query="uploads=")
        upload = begun.xml.findtext("{*}UploadId") or ""
        query = f"partNumber=1&uploadId={upload}"
        part = await ask("PUT", f"/{BUCKET}/parts", query=query, body=b"p" * 200_000)
        listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part>"
        whole = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        assert (await ask("POST", f"/{BUCKET}/parts", query=f"uploadId={upload}", body=whole)).status == 200
        assert ask.front.folder.resident.size == 200_000
        await _fill(ask)
        assert ask.front.folder.resident.size == 300 * KIB
        assert (await ask("GET", f"/{BUCKET}/parts")).body == b"p" * 200_000


async def test_a_snapshot_holds_bodies_that_were_in_memory_and_in_files(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await _fill(ask)
        await ask.service.snapshot("full")
        await ask.service.reset()
        await ask.service.restore("full")
        assert await _read(ask) == BODIES
        await ask.service.restore("full")
        assert await _read(ask) == BODIES


async def test_a_reader_that_began_in_memory_ends_when_the_body_is_a_file(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        await ask("PUT", body=BODIES[1])
        _, read = await ask.service.store.open(BUCKET, "k")
        await _fill(ask)
        assert b"".join([block async for block in read(10, 1000)]) == BODIES[1][10:1010]


def test_a_body_that_leaves_memory_while_a_save_writes_it_is_whole(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path)
    for _ in range(300):
        piece, start = Inline(BODIES[2]), threading.Barrier(3)

        def save(piece: Inline = piece, start: threading.Barrier = start) -> None:
            start.wait()
            piece.in_file(folder.write).seal()

        def leave(piece: Inline = piece, start: threading.Barrier = start) -> None:
            start.wait()
            piece.leave_memory(folder.write)

        threads = [threading.Thread(target=save), threading.Thread(target=leave)]
        for thread in threads:
            thread.start()
        start.wait()
        assert b"".join(piece.blocks(0, piece.size)) == BODIES[2]
        for thread in threads:
            thread.join()
        assert b"".join(piece.blocks(0, piece.size)) == BODIES[2]


async def test_writers_that_share_the_room_lose_nothing(tmp_path: Path) -> None:
    async with lab(replace(SETTINGS, state=tmp_path, save_seconds=0.01)) as ask:
        await asyncio.gather(
            *(
                ask("PUT", f"/{BUCKET}/{turn}/{number}", body=BODIES[number])
                for turn in range(5)
                for number in range(20)
            )
        )
        for turn in range(5):
            for number in range(20):
                assert (await ask("GET", f"/{BUCKET}/{turn}/{number}")).body == BODIES[number]
    async with lab(replace(SETTINGS, state=tmp_path)) as ask:
        assert (await ask("GET", f"/{BUCKET}/4/7")).body == BODIES[7]
