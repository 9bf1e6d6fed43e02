"""A snapshot on a slow link: what is large has the time of a transfer, not that of a row."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.r2 import R2Store

SMALL, LARGE = 1000, 1001


class SlowLink:
    """A server that sends the half of a body, or takes a whole one, and answers no more until it may go on."""

    def __init__(self) -> None:
        self.going_on = asyncio.Event()
        self.begun = self.waiting = self.ended = 0
        self.received: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0] or 0)
        body = await reader.readexactly(length)
        size = int(head.split(" ")[1].rpartition("/")[2].partition("?")[0]) if head.startswith("get") else 0
        answer = f'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "e"\r\nContent-Length: {size}\r\n\r\n'.encode()
        writer.write(answer + bytes(size // 2) if size else b"")
        await writer.drain()
        self.waiting += 1
        await self.going_on.wait()
        self.received += [body] if body else []
        writer.write(bytes(size - size // 2) if size else answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.ended += 1

    async def asked(self, times: int) -> None:
        """Returns when so many requests wait here."""
        async with asyncio.timeout(60):
            while self.waiting < times:  # noqa: ASYNC110 - the server is asked when it is asked
                await asyncio.sleep(0.001)

    async def over(self) -> None:
        """Lets all go on, and returns when each has ended."""
        self.going_on.set()
        async with asyncio.timeout(60):
            while self.ended < self.begun:  # noqa: ASYNC110 - connections end when they end
                await asyncio.sleep(0.001)


@pytest.fixture
async def link() -> SlowLink:
    return SlowLink()


@pytest.fixture
async def r2(
    link: SlowLink, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[R2Store]:
    monkeypatch.setattr("app.storage.r2._SMALL", SMALL)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        store = R2Store(make_settings(R2_ENDPOINT=url, R2_ATTEMPTS="1", R2_TOTAL_SECONDS="3"))
        yield store
        await link.over()
        await store.close()


def put(store: R2Store, size: int) -> Awaitable[object]:
    return store.put_bytes("dev/a", bytes(size))


async def test_a_large_write_outlasts_the_deadline_of_a_small_one(r2: R2Store, link: SlowLink) -> None:
    large = asyncio.ensure_future(put(r2, LARGE))
    await link.asked(1)
    with pytest.raises(StorageUnavailable, match=r"within 3 s"):
        await put(r2, SMALL)
    assert not large.done()
    link.going_on.set()
    assert await large == '"e"'
    assert bytes(LARGE) in link.received


async def test_a_large_read_outlasts_the_deadline_of_a_small_one(r2: R2Store, link: SlowLink) -> None:
    large = asyncio.ensure_future(r2.get_bytes(f"dev/{LARGE}"))
    await link.asked(1)
    with pytest.raises(StorageUnavailable, match=r"within 3 s"):
        await r2.get_bytes(f"dev/{SMALL}")
    assert not large.done()
    link.going_on.set()
    assert (await large).data == bytes(LARGE)


async def test_a_large_read_that_breaks_off_is_begun_again(
    link: SlowLink, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.storage.r2._SMALL", SMALL)
    link.going_on.set()
    asked = []

    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        if len(asked) > 1:
            await link.serve(reader, writer)
            return
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {LARGE}\r\n\r\nhalf'.encode())
        writer.close()

    server = await asyncio.start_server(breaking, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        store = R2Store(make_settings(R2_ENDPOINT=url))
        assert (await store.get_bytes(f"dev/{LARGE}")).data == bytes(LARGE)
        await store.close()
    assert len(asked) == 2
