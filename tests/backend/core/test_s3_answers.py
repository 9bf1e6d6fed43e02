"""Answers that say 200 and are not R2's: a proxy's page, an empty body, half of one. None may mean anything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app import timestamps
from app.context import UserContext
from app.replication.databases import ReplicatedDatabases
from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.keys import Keys
from app.storage.r2 import R2Store
from app.sync.interface import SyncUnavailable

LISTING = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>bucket</Name><Prefix>dev/</Prefix><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>false</IsTruncated></ListBucketResult>"
)
OBJECT = "<Contents><Key>dev/a</Key><Size>1</Size><ETag>e</ETag></Contents></ListBucketResult>"
Make = Callable[..., R2Store]


@asynccontextmanager
async def answering(body: str, *lines: str) -> AsyncIterator[str]:
    """A server that answers everything with 200, these header lines and this body; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length: " in head:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        text = "\r\n".join(["HTTP/1.1 200 OK", "Connection: close", *lines, "", body])
        writer.write(text.encode() if not head.startswith(b"head") else text.removesuffix(body).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def store_at(make_settings: Callable[..., Settings]) -> AsyncIterator[Make]:
    made: list[R2Store] = []

    def make(url: str, **settings: str) -> R2Store:
        made.append(R2Store(make_settings(R2_ENDPOINT=url, R2_ATTEMPTS="1", **settings)))
        return made[-1]

    yield make
    for store in made:
        await store.close()


def sized(body: str) -> str:
    return f"Content-Length: {len(body)}"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body>busy</body></html>",
        "<html><br>no XML",
        LISTING[:90],
        LISTING.replace("<Name>bucket</Name>", ""),
        LISTING.replace("<Name>bucket<", "<Name>other<"),
        LISTING.replace("<KeyCount>0</KeyCount>", ""),
        LISTING.replace("<IsTruncated>false</IsTruncated>", ""),
        LISTING.replace("false", "true"),
        LISTING.replace("</ListBucketResult>", OBJECT.replace("<Size>1</Size>", "")),
    ],
)
async def test_what_is_no_listing_is_no_empty_bucket(
    store_at: Make, make_settings: Callable[..., Settings], body: str
) -> None:
    async with answering(body, sized(body), "Content-Type: application/xml") as url:
        store, settings = store_at(url), make_settings()
        for call in (store.list("dev/"), store.list_folders("dev/"), store.probe()):
            with pytest.raises(StorageUnavailable):
                await call
        databases = ReplicatedDatabases(store, Keys("staging"), settings)
        with pytest.raises(SyncUnavailable):
            async with databases.session(UserContext("alice", "main")) as session:
                await session.read(lambda connection: connection.execute("SELECT 1"))
        assert list(settings.user_data_dir.rglob("*.sqlite")) == []
        await databases.close()


async def test_an_empty_listing_is_one(store_at: Make) -> None:
    async with answering(LISTING, sized(LISTING), "Content-Type: application/xml") as url:
        assert await store_at(url).list("dev/") == []
    full = LISTING.replace("</ListBucketResult>", OBJECT)
    async with answering(full, sized(full), "Content-Type: application/xml") as url:
        assert [item.key for item in await store_at(url).list("dev/")] == ["dev/a"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5"],
        ['ETag: "e"'],
        ['ETag: "e"', "Content-Length: 6"],
        ['ETag: "e"', "Transfer-Encoding: chunked"],
    ],
)
async def test_an_object_without_its_etag_or_whole_length_is_not_taken(
    store_at: Make, tmp_path: Path, lines: list[str]
) -> None:
    async with answering("hello", *lines) as url:
        store = store_at(url)
        for call in (store.get_bytes("dev/a"), store.download("dev/a", tmp_path / "copy")):
            with pytest.raises(StorageUnavailable):
                await call
    assert list(tmp_path.glob("*copy*")) == []


async def test_a_whole_object_is_not_taken_for_a_part_of_it(store_at: Make) -> None:
    async with answering("hello", 'ETag: "e"', "Content-Length: 5") as url:
        with pytest.raises(StorageUnavailable, match="ContentRange"):
            await store_at(url).get_range("dev/a", 2, 2)
    async with answering("he", 'ETag: "e"', "Content-Length: 2", "Content-Range: bytes 0-1/5") as url:
        with pytest.raises(StorageUnavailable, match="bytes 0-1/5"):
            await store_at(url).get_range("dev/a", 2, 2)


async def test_a_write_is_none_without_the_etag_of_what_was_written(store_at: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    async with answering("", "Content-Length: 0") as url:
        store = store_at(url)
        for call in (
            store.put_bytes("dev/a", b"x"),
            store.upload(tmp_path / "file", "dev/a", "video/mp4"),
            store.create_multipart("dev/a", "video/mp4"),
            store.head("dev/a"),
        ):
            with pytest.raises(StorageUnavailable, match="is not R2's"):
                await call


async def test_the_stores_clock_is_sure_when_a_second_answer_says_the_same(store_at: Make) -> None:
    date = "Date: Wed, 25 Nov 2026 12:00:00 GMT"
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
    async with answering(LISTING, sized(LISTING), date) as url:
        store = store_at(url)
        assert (store.date(), store.sure_date()) == (0.0, 0.0)
        await store.list("dev/")
        assert (store.date(), store.sure_date()) == (noon, 0.0)
        await store.list("dev/")
        assert (store.date(), store.sure_date()) == (noon, noon)
    for line in ("Date: yesterday", "X-Date: none"):
        async with answering(LISTING, sized(LISTING), line) as url:
            assert await store_at(url).list("dev/") == []


async def test_the_first_call_after_a_suspend_uses_no_connection_of_before(
    store_at: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = list[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has closed the connection
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(f"HTTP/1.1 200 OK\r\n{sized(LISTING)}\r\n\r\n{LISTING}".encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        store = store_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        noon = timestamps.unix_ms()
        for now, opened in ((noon, 1), (noon, 1), (noon + 3_600_000, 2), (noon + 3_600_000, 2)):
            monkeypatch.setattr(timestamps, "unix_ms", lambda now=now: now)
            await store.list("dev/")
            assert len(connections) == opened
        for writer in connections:
            writer.close()
