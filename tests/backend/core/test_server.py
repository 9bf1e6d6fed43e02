"""The server as the image starts it, against clients that send what no browser sends, over raw sockets."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.backend.core.test_process import BACKEND, USER, environment, server_command

MIB = 1024 * 1024
# What one connection may take of a Machine's memory.
MOST_MIB = 32
PERSON = b"Host: x\r\nX-User-ID: alice\r\nX-Profile-ID: main\r\n"
WHO = b"Sec-WebSocket-Protocol: user.alice, profile.main\r\n"
UPGRADE = (
    b"GET /ws/extractions HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    + WHO
    + b"Connection: Upgrade\r\nSec-WebSocket-Key: MTExMTExMTExMTExMTExMQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class Server:
    """The process, and raw connections to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    @contextlib.contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as made:
            yield made

    @contextlib.contextmanager
    def websocket(self) -> Iterator[socket.socket]:
        with self.connection() as made:
            made.sendall(UPGRADE + b"\r\n")
            while b"\r\n\r\n" not in made.recv(4096, socket.MSG_PEEK):
                pass
            yield made

    def mebibytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 // MIB

    def check(self) -> None:
        """It still answers, and has written no traceback."""
        httpx.get(f"http://127.0.0.1:{self.port}/api/health", timeout=60).raise_for_status()
        log = self.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:3000]


START = """
import sys
import app.server
import uvicorn
app.server.PART_SECONDS, app.server.LINGER_SECONDS = map(float, sys.argv[1:3])
uvicorn.main(sys.argv[3:])
"""


@contextlib.contextmanager
def started(folder: Path, *, part_seconds: float, linger_seconds: float = 120) -> Iterator[Server]:
    """The server with other limits for what a client may take time for: a busy machine needs more of it, too."""
    words = server_command()
    options = words[words.index("--timeout-graceful-shutdown") :]
    with socket.create_server(("127.0.0.1", 0)) as listener, (folder / "log").open("wb") as log:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", START, str(part_seconds), str(linger_seconds)),
                *("app.main:app", "--fd", str(listener.fileno()), *options),
            ],
            cwd=BACKEND,
            env=environment(folder, LOCAL_STORAGE_URL=f"http://127.0.0.1:{port}"),
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers=USER).raise_for_status()
        yield Server(process, port, folder / "log")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("server"), part_seconds=120) as one:
        yield one


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that waits only two seconds for the rest of a request."""
    with started(tmp_path_factory.mktemp("impatient"), part_seconds=2) as one:
        yield one


def frame(
    opcode: int, data: bytes = b"", *, last: bool = True, masked: bool = True, length: int | None = None
) -> bytes:
    """A frame of a client (RFC 6455, 5.2), masked with zeros."""
    size, mask = len(data) if length is None else length, 0x80 if masked else 0
    if size < 126:
        told = bytes([mask | size])
    elif size < 65536:
        told = bytes([mask | 126]) + struct.pack(">H", size)
    else:
        told = bytes([mask | 127]) + struct.pack(">Q", size)
    return bytes([(0x80 if last else 0) | opcode]) + told + (bytes(4) if masked else b"") + data


def close_code(connection: socket.socket) -> int | None:
    """The code of the close frame with which the server ends the connection, None where there is none."""
    seen = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65536):
            seen += block
    at = seen.rfind(b"\x88")
    return int(struct.unpack(">H", seen[at + 2 : at + 4])[0]) if at >= 0 else None


TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(BINARY, b"x"), 1003),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"\xc3", last=False) + frame(CONTINUATION, b"("), 1007),
        (frame(TEXT, b"x" * 2000), 1009),
        (frame(TEXT, length=1 << 62), 1009),
        (frame(TEXT, b"ping", masked=False), 1002),
        (frame(3, b"x"), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(PING, b"x", last=False), 1002),
        (frame(TEXT, last=False) + frame(CONTINUATION, last=False) * 2000, 1008),
        (b"\xff" * 5000, 1002),
    ],
    ids=[
        "binary", "no-utf8", "no-utf8-in-fragments", "too-long", "announced-huge", "not-masked", "unknown-opcode",
        "continuation-of-nothing", "fragmented-ping", "too-many-fragments", "rubbish",
    ],
)  # fmt: skip
def test_an_odd_frame_ends_with_a_close_code(server: Server, sent: bytes, code: int) -> None:
    with server.websocket() as connection:
        connection.sendall(sent)
        assert close_code(connection) == code
    server.check()


@pytest.mark.parametrize(
    ("begin", "block", "code"),
    [
        (frame(BINARY, length=64_000_000), b"x" * 65536, 1009),
        (frame(TEXT, b"x", last=False), frame(CONTINUATION, b"x", last=False) * 10_000, 1008),
        (b"", frame(TEXT, b"\xff" * 1000) * 60, 1007),
        (b"", b"\xff" * 65536, 1002),
    ],
    ids=["huge", "fragments", "no-utf8", "rubbish"],
)
def test_a_client_that_is_still_sending_gets_the_close_frame(
    server: Server, begin: bytes, block: bytes, code: int
) -> None:
    with server.websocket() as connection:
        connection.sendall(begin)
        for _ in range(200):
            connection.sendall(block)
        # No ConnectionError: the server has read all of it.
        seen = b"".join(iter(lambda: connection.recv(65536), b""))
    assert struct.unpack(">H", seen[seen.rfind(b"\x88") + 2 :][:2])[0] == code
    server.check()


@pytest.mark.parametrize(
    "sent", [b"[" * 1000, b'{"type": NaN}', b"9" * 1000, b"null"], ids=["deep", "nan", "long-number", "null"]
)
def test_odd_text_is_ignored_and_a_ping_behind_it_is_answered(server: Server, sent: bytes) -> None:
    with server.websocket() as connection:
        connection.sendall(frame(TEXT, sent) + frame(TEXT, b"ping"))
        seen = b""
        while b"pong" not in seen:
            block = connection.recv(65536)
            assert block, seen
            seen += block
    server.check()


def test_a_refused_websocket_gets_a_response_and_is_no_error_in_the_log(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(UPGRADE.replace(WHO, b"") + b"\r\n")
        seen = b""
        while block := connection.recv(65536):
            seen += block
    assert seen.startswith(b"HTTP/1.1 400 ")
    assert b"/problems/" in seen
    server.check()
    assert "ERROR" not in server.log.read_text()


@pytest.mark.parametrize("path", [b"/", b"/ws/extractions/", b"/ws/export/", b"/WS/extractions", b"/api/projects"])
def test_a_websocket_at_another_path_is_not_found_and_told_which_there_are(server: Server, path: bytes) -> None:
    with server.connection() as connection:
        connection.sendall(UPGRADE.replace(b"/ws/extractions", path) + b"\r\n")
        seen = b"".join(iter(lambda: connection.recv(65536), b""))
    assert seen.startswith(b"HTTP/1.1 404 ")
    assert b"only /ws/extractions and /ws/export/ID" in seen
    server.check()


def flood(connection: socket.socket, block: bytes, most: int = 100 * MIB) -> None:
    """Send until the server ends the connection or takes no more for a second."""
    connection.settimeout(1)
    sent = 0
    with contextlib.suppress(ConnectionError, TimeoutError):
        while sent < most:
            sent += connection.send(block)


FLOODS = {
    "header-without-end": (b"GET /api/health HTTP/1.1\r\nX-A: ", b"a" * 65536),
    "headers-without-end": (b"GET /api/health HTTP/1.1\r\n", b"X-A: b\r\n" * 8000),
    "path-without-end": (b"GET /", b"a" * 65536),
    "chunks-of-a-get": (b"GET /api/health HTTP/1.1\r\n" + PERSON + b"Transfer-Encoding: chunked\r\n\r\n",
                        b"10000\r\n" + b"a" * 65536 + b"\r\n"),
    "body-in-tiny-chunks": (b"POST /api/profiles HTTP/1.1\r\n" + PERSON + b"Transfer-Encoding: chunked\r\n\r\n",
                            b"1\r\na\r\n" * 10_000),
    "chunk-extension": (b"POST /api/profiles HTTP/1.1\r\n" + PERSON + b"Transfer-Encoding: chunked\r\n\r\n1;",
                        b"a" * 65536),
    "trailers": (b"POST /api/profiles HTTP/1.1\r\n" + PERSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
                 b"X-A: b\r\n" * 8000),
    "pings-not-read": (UPGRADE + b"\r\n", frame(PING, b"x" * 125) * 500),
    "text-not-read": (UPGRADE + b"\r\n", frame(TEXT, b"ping") * 5000),
    "empty-fragments": (UPGRADE + b"\r\n" + frame(TEXT, last=False), frame(CONTINUATION, last=False) * 5000),
}  # fmt: skip


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_takes_little_memory_and_keeps_nobody_waiting(server: Server, kind: str) -> None:
    begin, block = FLOODS[kind]
    before = server.mebibytes()
    with server.connection() as connection:
        connection.sendall(begin)
        flood(connection, block, 20 * MIB)
        assert server.mebibytes() < before + MOST_MIB
        server.check()


@pytest.mark.parametrize("kind", ["header-without-end", "headers-without-end", "path-without-end"])
def test_headers_that_are_too_long_are_refused_with_a_status(server: Server, kind: str) -> None:
    begin, block = FLOODS[kind]
    with server.connection() as connection:
        connection.sendall(begin)
        # More than is read at once and than is allowed behind that. The server may close before it has read all.
        with contextlib.suppress(ConnectionError):
            connection.sendall(block * 6)
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_half_a_request_is_answered_after_a_while(impatient: Server) -> None:
    with impatient.connection() as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nX-A: b")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Sec-WebSocket-Protocol: token." + b"a" * 20_000, 431),
        (b"\r\n".join(b"X-%d: a" % number for number in range(200)), 431),
        (b"Content-Length: 1", 400),
    ],
    ids=["long-token", "many-headers", "body"],
)
def test_a_handshake_that_cannot_be_read_is_answered_at_once(server: Server, header: bytes, status: int) -> None:
    with server.connection() as connection:
        # What is given up as half a request has 408.
        connection.sendall(UPGRADE + header + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 %d " % status)
    server.check()


def test_a_body_that_does_not_end_behind_its_answer_ends_the_connection(impatient: Server) -> None:
    with impatient.connection() as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\n" + PERSON + b"Content-Length: 1000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        deadline = time.monotonic() + 60
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.1)  # a client that sends ten bytes a second
        assert time.monotonic() < deadline


def test_a_request_behind_a_body_that_came_late_is_served(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\n" + PERSON + b"Content-Length: 3\r\n\r\n")
        seen = connection.recv(4096)
        assert seen.startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"xyzGET /nowhere HTTP/1.1\r\n" + PERSON + b"\r\n")
        while b"HTTP/1.1 404 " not in seen:
            block = connection.recv(4096)
            assert block, seen
            seen += block


def test_a_slow_request_in_small_pieces_is_served(server: Server) -> None:
    with server.connection() as connection:
        for byte in b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_many_requests_at_once_on_one_connection_are_all_answered(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall((b"GET /api/health HTTP/1.1\r\n" + PERSON + b"\r\n") * 50)
        seen = b""
        while seen.count(b'{"status":"ok"}') < 50:
            block = connection.recv(65536)
            assert block, seen
            seen += block


def test_open_floods_and_half_requests_do_not_keep_it_from_stopping(tmp_path: Path) -> None:
    with started(tmp_path, part_seconds=10, linger_seconds=5) as server, contextlib.ExitStack() as stack:
        for begin in (b"", b"GET / HTTP/1.1\r\nX-A: ", UPGRADE, *(begin for begin, _ in FLOODS.values())):
            stack.enter_context(server.connection()).sendall(begin)
        for _ in range(3):
            stack.enter_context(server.websocket())
        server.check()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
    log = server.log.read_text()
    assert "INFO app.lifecycle: stopped" in log
    assert "Traceback" not in log
