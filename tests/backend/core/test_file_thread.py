"""A transfer of a file that is cancelled: nothing is written after it has ended, neither here nor in the bucket."""

import asyncio
from pathlib import Path

import pytest
from tests.backend.core.test_large_objects import SlowLink, link, r2

from app.storage.file_thread import Body, FileThread, GivenUp
from app.storage.r2 import R2Store

__all__ = ["link", "r2"]  # fixtures


async def cancelled(transfer: "asyncio.Future[object]") -> None:
    transfer.cancel()
    await asyncio.wait([transfer], timeout=0.3)


async def test_a_cancelled_upload_ends_after_the_answer_of_what_was_sent(
    r2: R2Store, link: SlowLink, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    sending: asyncio.Future[object] = asyncio.ensure_future(r2.upload(tmp_path / "a", "dev/a", "video/mp4"))
    await link.asked(1)
    await cancelled(sending)
    assert not sending.done()
    await link.over()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(sending, 60)


async def test_a_body_is_given_up_only_before_its_last_byte(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    with Body(tmp_path / "a", half := FileThread()) as body:
        assert body.read(5) == bytes(5)
        await half.end()
        with pytest.raises(GivenUp):
            body.read(5)
    with Body(tmp_path / "a", whole := FileThread()) as body:
        assert body.read(10) == bytes(10)
        await whole.end()
        assert body.read(10) == b""


async def test_a_cancelled_download_leaves_no_file(r2: R2Store, link: SlowLink, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    getting: asyncio.Future[object] = asyncio.ensure_future(r2.download("dev/10000000", folder / "source"))
    await link.asked(1)
    await cancelled(getting)
    await link.over()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(getting, 60)
    assert list(folder.iterdir()) == []
