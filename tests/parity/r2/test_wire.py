"""Answers that are known before the body has come, and clients that leave before the answer has gone."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from tests.parity.r2.conftest import BUCKET, StandIn
from tests.parity.r2.lab import Call, signed

from parity.r2 import connection as connection_module
from parity.r2 import wire
from parity.r2.sigv4 import Token
from parity.r2.store.interface import Attributes, ObjectInfo

MIB = 1 << 20
STRANGER = Token("stranger", "x")
UNSIGNED = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
REFUSED = Call("PUT", headers=UNSIGNED, token=STRANGER)


@contextmanager
def _connection(r2: StandIn) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(r2.ca))
    with (
        socket.create_connection(("127.0.0.1", urlsplit(r2.url).port or 0), 60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        yield wrapped


def _head(r2: StandIn, call: Call, more: dict[str, str]) -> bytes:
    """The signed request's head."""
    path, query, headers = signed(call, urlsplit(r2.url).netloc)
    lines = [f"{name}: {value}" for name, value in (headers | more).items()]
    return "\r\n".join([f"{call.method} {path}{'?' + query if query else ''} HTTP/1.1", *lines, "", ""]).encode()


def _answer(connection: ssl.SSLSocket) -> tuple[int, str]:
    """Status of the next answer, and its body."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read().decode()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class _LargeFile(io.RawIOBase):
    """5 GiB: boto3 reads a body to its end, sent or not."""

    SIZE = 5 << 30

    def __init__(self) -> None:
        self._at, self._block = 0, bytes(MIB)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + (self.SIZE if whence == os.SEEK_END else self._at if whence == os.SEEK_CUR else 0)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        block = self._block[: min(size, self.SIZE - self._at)]
        self._at += len(block)
        return block

    def seekable(self) -> bool:
        return True


def test_boto3_hears_that_a_file_is_too_large_before_it_sends_it(r2: StandIn) -> None:
    # Otherwise it reads the file once more before, for the digest that it signs.
    s3 = r2.client(s3={"payload_signing_enabled": False})
    with pytest.raises(ClientError, match="EntityTooLarge"):
        s3.put_object(Bucket=BUCKET, Key="k", Body=_LargeFile())
    assert [(seen.status, seen.bytes_in) for seen in r2.service.front.seen.requests] == [(400, 0)]


def test_a_large_body_that_is_refused_is_taken_in_and_the_answer_is_there_after_it(r2: StandIn) -> None:
    size, block = 300 * MIB, bytes(MIB)
    call = Call("PUT", headers={"content-type": "video/mp4"}, sign="query")
    with _connection(r2) as connection:
        connection.sendall(_head(r2, call, {"content-type": "text/plain", "content-length": str(size)}))
        for _ in range(size // MIB):
            connection.sendall(block)
        status, body = _answer(connection)
        assert (status, "SignatureDoesNotMatch" in body) == (403, True)
        connection.sendall(_head(r2, Call("GET", f"/{BUCKET}/none"), {}))
        assert _answer(connection)[0] == 404, "the connection is at the end of a request"


def test_a_refusal_does_not_wait_for_the_body(r2: StandIn) -> None:
    with _connection(r2) as connection:
        connection.sendall(_head(r2, REFUSED, {"content-length": "1000"}))
        assert _answer(connection)[0] == 401
        connection.sendall(bytes(1000) + _head(r2, Call("GET", f"/{BUCKET}/none"), {}))
        assert _answer(connection)[0] == 404


def test_the_rest_of_a_refused_body_is_not_waited_for_for_ever(r2: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "DISCARD_SECONDS", 0.1)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, REFUSED, {"content-length": "1000"}))
        assert _answer(connection)[0] == 401
        with contextlib.suppress(ssl.SSLEOFError, ConnectionError):
            assert connection.recv(1) == b""


@pytest.mark.parametrize(("call", "status"), [(REFUSED, b"401"), (replace(REFUSED, query="prefix=%FF"), b"400")])
def test_who_waits_for_100_continue_hears_the_refusal_instead_and_the_end_of_the_connection(
    r2: StandIn, call: Call, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LINGER_SECONDS", 0.1)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, call, {"content-length": "1000", "expect": "100-continue"}))
        received = b""
        while block := connection.recv(4096):
            received += block
        assert received.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nconnection: close\r\n" in received.lower()


def test_who_begins_to_send_as_the_refusal_comes_does_not_lose_it(r2: StandIn) -> None:
    size, block = 8 * MIB, bytes(MIB)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, REFUSED, {"content-length": str(size), "expect": "100-continue"}))
        assert _answer(connection)[0] == 401
        for _ in range(size // MIB):
            connection.sendall(block)
        assert connection.recv(1) == b"", "the connection ends without a reset"


def test_who_waits_for_100_continue_and_is_let_in_hears_it(r2: StandIn) -> None:
    with _connection(r2) as connection:
        connection.sendall(_head(r2, Call("PUT", headers=UNSIGNED), {"content-length": "3", "expect": "100-continue"}))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert _answer(connection)[0] == 200
    assert r2.client().get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"abc"


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_a_header_that_could_not_be_sent_is_sent_with_a_space_instead(r2: StandIn, code: int) -> None:
    r2.client().put_object(Bucket=BUCKET, Key="k", Body=b"12345")
    call = Call("GET", query=f"response-content-type=a%{code:02X}b")
    with _connection(r2) as connection:
        connection.sendall(_head(r2, call, {}))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.headers["content-type"], answer.read()) == (200, "a b", b"12345")


def test_what_a_client_that_left_does_not_hear_is_not_read(r2: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, read, ended = 4000, [0], [False]

    async def stream(_start: int, _length: int) -> AsyncIterator[bytes]:
        try:
            for _ in range(blocks):
                read[0] += 1
                yield bytes(MIB)
        finally:
            ended[0] = True

    async def open_(_bucket: str, key: str, *_: Any) -> tuple[ObjectInfo, Any]:
        return ObjectInfo(key, blocks * MIB, "e" * 32, 0, Attributes()), stream

    monkeypatch.setattr(r2.service.store, "open", open_)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, Call("GET"), {}))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    _until(lambda: ended[0])
    assert read[0] < blocks / 10


def test_a_body_that_stops_halfway_is_answered_and_the_connection_closed(start: Callable[..., StandIn]) -> None:
    r2 = start(stall_seconds=0.3)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, Call("PUT", headers=UNSIGNED), {"content-length": "10"}) + b"half")
        status, body = _answer(connection)
        assert (status, "<Code>RequestTimeout</Code>" in body) == (400, True)
        assert connection.recv(1) == b""
    with pytest.raises(ClientError, match="404"):
        r2.client().head_object(Bucket=BUCKET, Key="k")


def test_the_rest_of_a_refused_body_that_does_not_come_closes_the_connection(start: Callable[..., StandIn]) -> None:
    r2 = start(stall_seconds=0.3)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, REFUSED, {"content-length": "10"}) + b"half")
        assert b"401" in connection.recv(65536)
        _drained(connection)


def _drained(connection: ssl.SSLSocket) -> None:
    """Read to the end of the connection, however it ends."""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("sent", [b"", b"GET /k HTTP/1.1\r\nHost: local"])
def test_half_a_head_closes_the_connection(r2: StandIn, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.3)
    with _connection(r2) as connection:
        connection.sendall(sent)
        _drained(connection)


def test_a_client_that_thinks_between_requests_is_not_disturbed(r2: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough for the handshake and a head on a busy machine.
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 10)
    with _connection(r2) as connection:
        connection.sendall(_head(r2, Call("GET"), {}))
        assert _answer(connection)[0] == 404
        # Longer than a head may take: this is the client's own time, and nothing comes.
        connection.settimeout(10.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(60)
        connection.sendall(_head(r2, Call("GET"), {}))
        assert _answer(connection)[0] == 404
