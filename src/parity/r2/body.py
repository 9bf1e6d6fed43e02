"""Request bodies: received in bounded memory, checked against every digest that was promised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parity.r2 import answers
from parity.r2.checksums import DIGESTS, BodyDigests
from parity.r2.chunked import ChunkedDecoder
from parity.r2.content import BlobFolder, Content, ContentWriter
from parity.r2.errors import R2Error, incomplete_body
from parity.r2.headers import MAX_PUT
from parity.r2.request import Request
from parity.r2.rules import Rulebook
from parity.r2.sigv4 import Authenticated
from parity.r2.store.interface import Checksum

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
# A larger body is digested and written in batches of this size, one thread call each.
BATCH = 1 << 20
# The largest XML body: 1000 keys of 1024 bytes, escaped, or 10,000 parts.
MAX_XML = 8 << 20
# Setting → answer to an unsigned trailer.
_UNSIGNED = {"401": answers.STREAMING_UNSIGNED_401, "501": answers.STREAMING_UNSIGNED_501}


class ClientGone(Exception):
    """The client closed the connection; there is no one to answer."""


@dataclass(frozen=True, slots=True)
class Body:
    """``etag`` is the MD5 of the payload, in hex; ``checksum`` the one that came with it."""

    content: Content
    etag: str
    checksum: Checksum | None


def check_length(request: Request, operation: str, authenticated: Authenticated, rules: Rulebook) -> None:
    """Before the first byte is read. Raises rules 20 and 21."""
    declared = request.content_length
    if operation not in ("PutObject", "UploadPart"):
        return
    if declared is None and not (authenticated.streams and "x-amz-decoded-content-length" in request.headers):
        rules.refuse_if_on(answers.NO_LENGTH)
    if (declared or 0) > MAX_PUT:
        rules.refuse_if_on(answers.TOO_LARGE)


def check_streaming(authenticated: Authenticated, rules: Rulebook) -> None:
    """Raises rule 11."""
    unsigned = rules.choices.unsigned_streaming
    payload = authenticated.payload
    if payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        if unsigned != "accept":
            rules.refuse_if_on(_UNSIGNED[unsigned], payload=payload)
    elif authenticated.streams:
        rules.refuse_if_on(answers.STREAMING_SIGNED, payload=payload)


async def receive_body(
    receive: Receive, request: Request, authenticated: Authenticated, rules: Rulebook, folder: BlobFolder
) -> Body:
    """The whole payload. Raises rules 9 and 22, ``IncompleteBody`` and ``ClientGone``."""
    digests = BodyDigests(request.headers, authenticated.payload, rules)
    decoder = ChunkedDecoder() if authenticated.streams else None
    trailer_digest = _expect_trailer(request.header("x-amz-trailer") if decoder else None)
    writer = ContentWriter(folder)

    def work(data: bytes) -> None:
        if trailer_digest is not None:
            trailer_digest[1].update(data)
        digests.update(data)
        writer.write(data)

    worker = Worker(work)
    received, more = 0, True
    trailer: Checksum | None = None
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            data, more = message.get("body", b""), message.get("more_body", False)
            received += len(data)
            if received > MAX_PUT + MAX_XML:
                raise R2Error(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
            await worker.take(data if decoder is None else decoder.feed(data))
        await worker.finish()
        if decoder is not None:
            decoder.finish()
            _check_decoded_length(request, writer.size)
            trailer = _check_trailer(trailer_digest, decoder.trailers, rules)
        elif request.content_length is not None and received != request.content_length:
            raise incomplete_body()
        etag = digests.finish()
        return Body(writer.finish(), etag, digests.given or trailer)
    finally:
        await worker.stop()
        writer.abandon()


class Worker:
    """Digests and writes a body. Full batches go to a thread while the next batch is received; the rest is done in the
    event loop. Batches are processed in order, one at a time. The caller must call ``stop``."""

    def __init__(self, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._batch: list[bytes] = []
        self._size = 0
        self._running: asyncio.Future[None] | None = None

    async def take(self, data: bytes) -> None:
        if not data:
            return
        self._batch.append(data)
        self._size += len(data)
        if self._size >= BATCH:
            batch, self._batch, self._size = self._batch, [], 0
            await self._wait()
            self._running = asyncio.get_running_loop().run_in_executor(None, self._each, batch)

    def _each(self, batch: Sequence[bytes]) -> None:
        for data in batch:
            self._work(data)

    async def _wait(self) -> None:
        if self._running is not None:
            # `asyncio.wait` does not cancel the batch when the request is cancelled, so that `stop` can still wait for
            # it.
            await asyncio.wait([self._running])
            self._running.result()
            self._running = None

    async def finish(self) -> None:
        await self._wait()
        self._each(self._batch)
        self._batch = []

    async def stop(self) -> None:
        """Wait for the batch in progress. Its error is ignored: either it was raised before, or the request was
        cancelled."""
        if self._running is not None:
            await asyncio.wait([self._running])


def _expect_trailer(trailer: str | None) -> tuple[str, Any] | None:
    name = (trailer or "").lower().removeprefix("x-amz-checksum-")
    return (name, DIGESTS[name][1]()) if name in DIGESTS else None


def _check_decoded_length(request: Request, size: int) -> None:
    declared = request.header("x-amz-decoded-content-length")
    if declared is None or not declared.isdecimal() or int(declared[:20]) != size:
        raise incomplete_body()


def _check_trailer(expected: tuple[str, Any] | None, trailers: Mapping[str, str], rules: Rulebook) -> Checksum | None:
    """The checksum in the trailer, when it holds. Raises rule 22."""
    if expected is None:
        return None
    name, digest = expected
    header = f"x-amz-checksum-{name}"
    checks = BodyDigests({}, "", rules)
    if header not in trailers:
        rules.refuse_if_on(answers.INVALID_DIGEST)
        return None
    checks.expect(name, trailers[header], DIGESTS[name][0], digest)
    checks.finish()
    return checks.given


async def receive_xml(
    receive: Receive, request: Request, authenticated: Authenticated, rules: Rulebook, *, checksums: bool = True
) -> bytes:
    """A small body in memory, with its digests checked. ``checksums=False``: the checksum headers describe something
    other than this body, so they are not compared. Raises ``MalformedXML`` for a body over ``MAX_XML`` bytes."""
    headers = request.headers if checksums else {}
    digests = BodyDigests(headers, authenticated.payload, rules)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        data, more = message.get("body", b""), message.get("more_body", False)
        size += len(data)
        if size > MAX_XML:
            rules.refuse_if_on(answers.MALFORMED_XML)
            raise R2Error(400, "EntityTooLarge", "The body is too large.")
        digests.update(data)
        chunks.append(data)
    digests.finish()
    return b"".join(chunks)
