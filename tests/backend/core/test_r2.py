"""app.storage.r2 against a server that speaks R2's dialect over TLS, and breaks it on request."""

import asyncio
import datetime
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from botocore.utils import parse_timestamp
from starlette.types import Message, Receive, Scope, Send

from app.middleware.request_id import RequestIdMiddleware
from app.settings import Settings
from app.storage.interface import (
    InvalidRequest,
    ObjectMissing,
    PreconditionFailed,
    StorageUnavailable,
    UploadedPart,
)
from app.storage.r2 import R2Store
from app.storage.s3_client import moment
from parity.certs import Certificates, ensure_certificates
from parity.r2.admin import OPERATIONS
from parity.r2.server import serve_s3
from parity.r2.service import Service
from parity.r2.settings import R2Settings
from parity.r2.sigv4 import Token

MIB = 1024 * 1024
SERVER = R2Settings("bucket", (Token("key", "secret"),), (), save_seconds=0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1"])


class Server:
    """The server's inside, and settings that lead to it."""

    def __init__(self, service: Service, settings: Callable[..., Settings]) -> None:
        self.service = service
        self.settings = settings

    def fault(self, **what: Any) -> None:
        self.service.front.faults.add(what, OPERATIONS)


@pytest.fixture
async def server(
    certificates: Certificates, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca))
    async with serve_s3(SERVER, "127.0.0.1", 0, 0, certificates) as (service, ports):

        def settings(**changes: str) -> Settings:
            return make_settings(**{"R2_ENDPOINT": f"https://localhost:{ports.s3}", **changes})

        yield Server(service, settings)


@pytest.fixture
async def r2(server: Server) -> AsyncIterator[R2Store]:
    store = R2Store(server.settings())
    yield store
    await store.close()


class Hanging:
    """A client whose reads of some keys hang until they are let go."""

    def __init__(self, client: Any, part: str) -> None:
        self._client, self._part = client, part
        self.going_on = threading.Event()
        self.hanging = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **what: Any) -> Any:
        if self._part in what["Key"]:
            self.hanging += 1
            assert self.going_on.wait(120)
        return self._client.get_object(**what)


async def no_message() -> Message:
    raise AssertionError("the body was not asked for")


async def sent_nowhere(_message: Message) -> None:
    raise AssertionError("there is no one to answer")


async def test_bytes_come_back_with_the_etag_that_writing_gave(r2: R2Store) -> None:
    etag = await r2.put_bytes("dev/a", b"hello")
    found = await r2.get_bytes("dev/a")
    assert (found.data, found.etag) == (b"hello", etag)
    assert (await r2.head("dev/a")).size == 5


async def test_times_of_answers_are_read_without_guessing_their_format(
    r2: R2Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await r2.put_bytes("dev/a", b"hello")
    guesses = mock.Mock(side_effect=AssertionError("a format was guessed"))
    monkeypatch.setattr("dateutil.parser.parse", guesses)
    (listed,), head = await r2.list("dev/"), await r2.head("dev/a")
    assert listed.modified is not None
    assert head.modified is not None
    # A listing has milliseconds, a header whole seconds.
    assert listed.modified.replace(microsecond=0) == head.modified
    assert abs((listed.modified - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T04:41:03.017Z",
        "2026-11-24T04:41:03Z",
        "2026-11-24T04:41:03+02:00",
        "Tue, 24 Nov 2026 04:41:03 GMT",
        "2026-11-24T04:41:03",
        "1795149663",
    ],
)
def test_a_time_is_what_botocore_takes_it_for(text: str) -> None:
    assert moment(text) == parse_timestamp(text)


async def test_only_an_object_that_is_not_there_is_missing(r2: R2Store, server: Server) -> None:
    for call in (r2.head, r2.get_bytes):
        with pytest.raises(ObjectMissing):
            await call("dev/none")
    elsewhere = R2Store(server.settings(R2_BUCKET="other-bucket", R2_ATTEMPTS="1"))
    for call in (elsewhere.head, elsewhere.get_bytes):
        with pytest.raises(StorageUnavailable):
            await call("dev/none")
    with pytest.raises(StorageUnavailable):
        await elsewhere.probe()
    await elsewhere.close()


async def test_a_wrong_secret_is_neither_missing_nor_a_conflict(r2: R2Store, server: Server) -> None:
    stranger = R2Store(server.settings(R2_SECRET_ACCESS_KEY="wrong"))
    with pytest.raises(StorageUnavailable, match="403"):
        await stranger.put_bytes("dev/a", b"x", if_none_match=True)
    with pytest.raises(StorageUnavailable):
        await stranger.head("dev/a")
    await stranger.close()
    with pytest.raises(ObjectMissing):
        await r2.head("dev/a")


async def test_conditions_hold(r2: R2Store) -> None:
    first = await r2.put_bytes("dev/a", b"1", if_none_match=True)
    with pytest.raises(PreconditionFailed):
        await r2.put_bytes("dev/a", b"2", if_none_match=True)
    with pytest.raises(PreconditionFailed):
        await r2.put_bytes("dev/none", b"2", if_match=first)
    second = await r2.put_bytes("dev/a", b"2", if_match=first)
    with pytest.raises(PreconditionFailed):
        await r2.put_bytes("dev/a", b"3", if_match=first)
    assert (await r2.get_bytes("dev/a")).etag == second


async def test_of_many_creators_one_wins(r2: R2Store) -> None:
    results = await asyncio.gather(
        *(r2.put_bytes("dev/a", str(number).encode(), if_none_match=True) for number in range(8)),
        return_exceptions=True,
    )
    won = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(won) == 1
    assert (await r2.get_bytes("dev/a")).data == str(won[0]).encode()


async def test_a_create_whose_answer_was_lost_is_no_conflict_with_itself(r2: R2Store, server: Server) -> None:
    server.fault(key="dev/a", operation="PutObject", drop="after", count=1)
    etag = await r2.put_bytes("dev/a", b"mine", if_none_match=True)
    found = await r2.get_bytes("dev/a")
    assert (found.data, found.etag) == (b"mine", etag)


async def test_a_create_that_another_won_after_a_lost_connection_is_a_conflict(r2: R2Store, server: Server) -> None:
    await r2.put_bytes("dev/a", b"theirs")
    server.fault(key="dev/a", operation="PutObject", drop="before", count=1)
    with pytest.raises(PreconditionFailed):
        await r2.put_bytes("dev/a", b"theirs", if_none_match=True)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_again(r2: R2Store, server: Server, status: int) -> None:
    server.fault(key="dev/a", status=status, count=2)
    await r2.put_bytes("dev/a", b"x")
    assert (await r2.get_bytes("dev/a")).data == b"x"


async def test_tries_and_time_end(server: Server) -> None:
    store = R2Store(server.settings(R2_ATTEMPTS="2"))
    server.fault(key="dev/a", operation="GetObject", status=500, count=100)
    with pytest.raises(StorageUnavailable, match="tried 2 times"):
        await store.get_bytes("dev/a")
    await store.close()
    hasty = R2Store(server.settings(R2_TOTAL_SECONDS="0.5", R2_ATTEMPTS="10"))
    server.fault(key="dev/b", operation="GetObject", delay=5.0, count=100)
    with pytest.raises(StorageUnavailable, match=r"0\.5 s"):
        await hasty.get_bytes("dev/b")
    await hasty.close()


async def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(r2: R2Store, server: Server, tmp_path: Path) -> None:
    data = bytes(200_000)
    await r2.put_bytes("dev/a", data)
    server.fault(key="dev/a", operation="GetObject", cut=1000, count=1)
    assert (await r2.get_bytes("dev/a")).data == data
    server.fault(key="dev/a", operation="GetObject", cut=1000, count=100)
    with pytest.raises(StorageUnavailable):
        await r2.download("dev/a", tmp_path / "copy")
    assert list(tmp_path.glob("**/*copy*")) == []


async def test_an_endpoint_where_nobody_listens_is_unavailable(make_settings: Callable[..., Settings]) -> None:
    store = R2Store(make_settings(R2_ENDPOINT="https://127.0.0.1:9", R2_ATTEMPTS="2"))
    for call in (store.head("dev/a"), store.get_bytes("dev/a"), store.list("dev/"), store.probe()):
        with pytest.raises(StorageUnavailable):
            await call
    await store.close()


async def test_a_range_is_what_was_asked_and_past_the_end_is_refused(r2: R2Store) -> None:
    await r2.put_bytes("dev/a", b"0123456789")
    assert await r2.get_range("dev/a", 2, 3) == b"234"
    assert await r2.get_range("dev/a", 8, 100) == b"89"
    with pytest.raises(InvalidRequest):
        await r2.get_range("dev/a", 10, 1)


async def test_a_file_goes_up_and_comes_down_unchanged(r2: R2Store, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    source.write_bytes(bytes(range(256)) * 1000)
    await r2.upload(source, "dev/v.mp4", "video/mp4")
    info = await r2.download("dev/v.mp4", tmp_path / "deep" / "copy.mp4")
    assert (tmp_path / "deep" / "copy.mp4").read_bytes() == source.read_bytes()
    assert (info.size, info.content_type) == (256_000, "video/mp4")


async def test_a_large_file_goes_up_in_equal_parts(server: Server, tmp_path: Path) -> None:
    store = R2Store(server.settings(MULTIPART_THRESHOLD_BYTES=str(5 * MIB), PART_BYTES=str(5 * MIB)))
    source = tmp_path / "source.mp4"
    source.write_bytes(b"ab" * (6 * MIB))
    etag = await store.upload(source, "dev/v.mp4", "video/mp4")
    assert etag.endswith('-3"')
    await store.download("dev/v.mp4", tmp_path / "copy.mp4")
    assert hashlib.md5((tmp_path / "copy.mp4").read_bytes()).digest() == hashlib.md5(source.read_bytes()).digest()
    await store.close()


async def test_listing_and_deleting_stay_below_the_prefix(r2: R2Store) -> None:
    for key in ("dev/u/one/a", "dev/u/one/b/c", "dev/u/one1/a", "dev/v/a"):
        await r2.put_bytes(key, b"x")
    assert [item.key for item in await r2.list("dev/u/one/")] == ["dev/u/one/a", "dev/u/one/b/c"]
    assert len(await r2.list("dev/", limit=2)) == 2
    assert [item.key for item in await r2.list("dev/u/", after="dev/u/one/a~")] == ["dev/u/one/b/c", "dev/u/one1/a"]
    assert await r2.list_folders("dev/u/") == ["one", "one1"]
    assert await r2.delete_prefix("dev/u/one/") == 2
    assert [item.key for item in await r2.list("")] == ["dev/u/one1/a", "dev/v/a"]
    with pytest.raises(InvalidRequest):
        await r2.delete_prefix("dev/u/one")


async def test_a_presigned_put_creates_one_object_of_one_type_and_size(r2: R2Store, certificates: Certificates) -> None:
    import ssl

    trust = ssl.create_default_context(cafile=str(certificates.ca))
    async with httpx.AsyncClient(verify=trust, timeout=60) as client:
        put = await r2.presign_put("dev/v.mp4", "video/mp4", 1)
        assert (await client.put(put.url, content=b"vv", headers=put.headers)).status_code == 403
        for missing in put.headers:
            rest = {name: value for name, value in put.headers.items() if name != missing}
            assert (await client.put(put.url, content=b"v", headers=rest)).status_code == 403
        other = {**put.headers, "Content-Type": "text/plain"}
        assert (await client.put(put.url, content=b"v", headers=other)).status_code == 403
        assert (await client.put(put.url, content=b"v", headers=put.headers)).status_code == 200
        assert (await client.put(put.url, content=b"w", headers=put.headers)).status_code == 412
        answer = await client.get(await r2.presign_get("dev/v.mp4", filename='mein "Film".mp4'))
        assert answer.content == b"v"
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''mein%20%22Film%22.mp4"
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in put.url


async def test_a_multipart_upload_by_presigned_urls(r2: R2Store, certificates: Certificates) -> None:
    import ssl

    upload = await r2.create_multipart("dev/v.mp4", "video/mp4")
    parts = []
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(certificates.ca)), timeout=60) as client:
        sizes = (5 * MIB, 10)
        urls = await r2.presign_parts("dev/v.mp4", upload, sizes)
        assert (await client.put(urls[0], content=bytes(5 * MIB + 1))).status_code == 403
        for number, (url, size) in enumerate(zip(urls, sizes, strict=True), 1):
            answer = await client.put(url, content=bytes(size))
            parts.append(UploadedPart(number, answer.headers["etag"]))
    with pytest.raises(InvalidRequest):
        await r2.complete_multipart("dev/v.mp4", upload, [UploadedPart(1, '"no"'), parts[1]])
    with pytest.raises(InvalidRequest):
        await r2.complete_multipart("dev/v.mp4", upload, [])
    await r2.complete_multipart("dev/v.mp4", upload, parts)
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(certificates.ca)), timeout=60) as client:
        assert (await client.put(urls[1], content=bytes(10))).status_code == 404
    assert (await r2.head("dev/v.mp4")).size == 5 * MIB + 10
    with pytest.raises(ObjectMissing):
        await r2.complete_multipart("dev/v2.mp4", "unknown", parts)
    await r2.abort_multipart("dev/v.mp4", "unknown")


async def test_a_profile_or_a_video_whose_reads_hang_holds_no_other_profile_up(r2: R2Store, tmp_path: Path) -> None:
    slow, other = "dev/users/alice/profiles/main/", "dev/users/bob/profiles/main/"
    for key in (f"{slow}a", f"{other}a", "dev/video"):
        await r2.put_bytes(key, b"x")
    for part, work, most in (
        (slow, lambda: r2.get_bytes(f"{slow}a"), 16),
        ("video", lambda: r2.download("dev/video", tmp_path / "video"), 8),
    ):
        client = r2._requests.__dict__["client"] = Hanging(r2._requests.client, part)
        stuck: list[asyncio.Future[Any]] = [asyncio.ensure_future(work()) for _ in range(40)]
        async with asyncio.timeout(60):
            while client.hanging < most:  # noqa: ASYNC110 - threads begin when they begin
                await asyncio.sleep(0.001)
            await r2.put_bytes(f"{other}b", b"y")
            assert (await r2.get_bytes(f"{other}b")).data == b"y"
            assert len(await r2.list(other)) == 2
            await r2.presign_get(f"{slow}a")
        assert (client.hanging, [task for task in stuck if task.done()]) == (most, [])
        client.going_on.set()
        await asyncio.gather(*stuck)


@pytest.mark.parametrize(
    ("given", "told"),
    [("01J8ZQ3N5V-fra", "01J8ZQ3N5V-fra"), ("no id\u00e9", ""), ("x" * 65, ""), (None, "")],
)
async def test_every_call_names_the_request_that_it_is_made_for_and_stays_signed(
    r2: R2Store, server: Server, given: str | None, told: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # In a task of its own, as an upload is: it counts for the request that began it.
        await asyncio.create_task(r2.put_bytes("dev/a", b"1"))
        await r2.get_bytes("dev/a")

    headers = [] if given is None else [(b"fly-request-id", given.encode("latin-1"))]
    await RequestIdMiddleware(app)({"type": "http", "headers": headers}, no_message, sent_nowhere)
    await r2.get_bytes("dev/a")
    seen = [(found.operation, found.status, found.request_id) for found in server.service.front.seen.requests]
    assert seen == [("PutObject", 200, told), ("GetObject", 200, told), ("GetObject", 200, "")]


async def test_requests_at_the_same_time_are_not_mistaken_for_each_other(r2: R2Store, server: Server) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.gather(*(r2.put_bytes(f"dev/{scope['path']}/{number}", b"1") for number in range(5)))

    middleware = RequestIdMiddleware(app)
    await asyncio.gather(
        *(
            middleware(
                {"type": "http", "path": name, "headers": [(b"fly-request-id", name.encode())]},
                no_message,
                sent_nowhere,
            )
            for name in ("one", "two", "three")
        )
    )
    seen = server.service.front.seen.requests
    assert len(seen) == 15
    assert {found.key.split("/")[1] == found.request_id for found in seen} == {True}
