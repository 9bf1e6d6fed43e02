"""HTTP/2 through the edge."""

from __future__ import annotations

import asyncio
import resource
import shutil
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from tests.parity.fly.support import Edge, StartEdge, until

from parity.fly.edge import http2


class Raw:
    """A client on frames."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.h2 = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False))

    async def __aenter__(self) -> Raw:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._edge.standin.ports.https, ssl=self._edge.tls("h2"), server_hostname="localhost"
        )
        self.h2.initiate_connection()
        self.send()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    def send(self) -> None:
        self._writer.write(self.h2.data_to_send())

    def request(self, path: str, *headers: tuple[str, str], method: str = "GET", end: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "app.fly.dev"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *headers], end_stream=end)
        self.send()
        return stream

    async def events(self, *until_types: type) -> list[Any]:
        found: list[Any] = []
        async with asyncio.timeout(60):
            while not any(isinstance(event, until_types) for event in found):
                data = await self._reader.read(65536)
                if not data:
                    return found
                found += self.h2.receive_data(data)
                for event in found:
                    if isinstance(event, DataReceived) and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        event.flow_controlled_length = 0
                self.send()
        return found


def status(events: list[Any]) -> str:
    (response,) = [event for event in events if isinstance(event, ResponseReceived)]
    return str(dict(response.headers)[b":status"], "ascii")


async def test_alpn_agrees_on_http_2(edge: Edge) -> None:
    async with edge.client(http2=True) as client:
        answer = await client.get("/show?a=b")
    assert answer.http_version == "HTTP/2"
    assert answer.headers["via"] == "2 fly.io"
    assert (answer.json()["path"], answer.json()["query"]) == ("/show", "a=b")
    assert answer.headers.get_list("x-dup") == ["a", "b"]


async def test_split_cookies_reach_the_app_as_one_header(edge: Edge) -> None:
    async with Raw(edge) as raw:
        raw.request("/show", ("cookie", "a=1"), ("cookie", "b=2"))
        events = await raw.events(StreamEnded)
    assert '["cookie", "a=1; b=2"]' in b"".join(e.data for e in events if isinstance(e, DataReceived)).decode()


async def test_many_streams_on_one_connection_are_answered(edge: Edge) -> None:
    async with edge.client(http2=True) as client:
        answers = await asyncio.gather(*(client.get(f"/show?{n}") for n in range(60)))
    assert sorted(int(answer.json()["query"]) for answer in answers) == list(range(60))


async def test_a_body_without_a_length_is_sent_to_the_app_in_chunks(edge: Edge) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(100_000)

    async with edge.client(http2=True) as client:
        for _ in range(5):  # an end sent twice would show on the kept-alive connection
            answer = (await client.post("/show", content=pieces())).json()
            assert answer["size"] == 1_000_000
            assert dict(answer["headers"])["transfer-encoding"] == "chunked"


async def test_head_has_no_body(edge: Edge) -> None:
    async with edge.client(http2=True) as client:
        answer = await client.head("/text")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "10000")


async def test_too_large_a_head_is_431_too_long_a_target_414_and_the_connection_lives(edge: Edge) -> None:
    async with Raw(edge) as raw:
        raw.request("/", *((f"x-{n}", "a" * 8000) for n in range(9)))
        assert status(await raw.events(StreamEnded)) == "431"
        raw.request("/" + "a" * 20_000)
        assert status(await raw.events(StreamEnded)) == "414"
        raw.request("/nowhere")
        assert status(await raw.events(StreamEnded)) == "404"


async def test_a_protocol_error_ends_the_connection_with_goaway(edge: Edge) -> None:
    async with Raw(edge) as raw:
        raw._writer.write(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # WINDOW_UPDATE of 0
        assert any(isinstance(event, ConnectionTerminated) for event in await raw.events(ConnectionTerminated))


async def test_a_reset_stream_tells_the_app_and_frees_its_place(edge: Edge) -> None:
    async with Raw(edge) as raw:
        stream = raw.request("/hold")
        await until(lambda: _has(edge, "held"), "the request arrived")
        raw.h2.reset_stream(stream, 8)
        raw.send()
        await until(lambda: _has(edge, "client left"), "the app was told")
    await until(lambda: edge.machine.load == 0, "its place is free")


async def _has(edge: Edge, event: str) -> bool:
    return event in await edge.get("/events")


async def test_an_early_answer_stops_the_request_without_an_error(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "LINGER_S", 0.05)
    async with Raw(edge) as raw:
        raw.request("/early", method="POST", end=False)
        events = await raw.events(StreamReset)
    assert status(events) == "413"
    assert [e.error_code for e in events if isinstance(e, StreamReset)] == [0]


@pytest.mark.parametrize("path", ["/early", "/" + "a" * 20_000])
async def test_a_client_that_sends_its_whole_body_first_gets_an_early_answer(
    edge: Edge, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "LINGER_S", 60.0)  # a busy machine needs long for so large a body
    async with edge.client(http2=True) as client:  # httpx reads no response before its body is sent
        answer = await client.post(path, content=bytes(3_000_000), timeout=60)
        assert answer.status_code in (413, 414)
        assert (await client.get("/text")).status_code == 200  # on the same connection


async def test_a_machine_that_dies_in_the_middle_resets_the_stream(edge: Edge) -> None:
    async with edge.client(http2=True) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/cut")


async def test_300_mb_each_way_stay_within_bounded_memory(edge: Edge) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH: a client in this process would be measured too")
    size = 300_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    curl = f"curl -sk --http2 {edge.url}"
    upload = f"head -c {size} /dev/zero | {curl}/show -o /dev/null -T - -w '%{{http_version}} %{{response_code}}'"
    download = f"{curl}/big?{size} | wc -c"
    assert await _shell(upload) == "2 200"
    assert edge.standin.context.log.entries()[-1].bytes_in == size
    assert await _shell(download) == str(size)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def _shell(command: str) -> str:
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(110):
        output, _ = await process.communicate()
    return output.decode().strip()


@pytest.mark.parametrize("then", ["body", "reset", "nothing"])
async def test_a_refused_request_with_a_body_leaves_the_connection_and_its_other_streams(edge: Edge, then: str) -> None:
    async with Raw(edge) as raw:
        other = raw.request("/hold")
        stream = raw.h2.get_next_available_stream_id()
        path = "/" + "x" * 20_000
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "app.fly.dev"), (":path", path)]
        raw.h2.send_headers(stream, pseudo)
        if then == "body":
            raw.h2.send_data(stream, b"x" * 1000, end_stream=True)
        elif then == "reset":
            raw.h2.reset_stream(stream)
        raw.send()  # all of it in one packet
        if then != "reset":
            (answer,) = [e for e in await raw.events(ResponseReceived) if isinstance(e, ResponseReceived)]
            headers = dict(answer.headers)
            assert headers[b":status"] == b"414"
            assert headers[b"server"].startswith(b"Fly/")
            assert headers[b"via"] == b"2 fly.io"
        async with edge.client() as client:
            await client.get("/go")
        answers = [e for e in await raw.events(StreamEnded) if isinstance(e, ResponseReceived) and e.stream_id == other]
        assert [dict(e.headers)[b":status"] for e in answers] == [b"200"]
    refused = [entry for entry in edge.standin.context.log.entries() if entry.status == 414]
    assert [entry.method for entry in refused] == ["POST"]
    assert refused[0].outcome == "refused: the request's target is too long"


@pytest.mark.parametrize("cut", ["preface", "frame header", "headers", "continuation"])
async def test_a_head_that_does_not_end_closes_the_connection_with_408_in_the_log(
    start_edge: StartEdge, cut: str
) -> None:
    edge = await start_edge(head_timeout_s=0.3)
    h2 = H2Connection(H2Configuration(client_side=True))
    h2.initiate_connection()
    preface = h2.data_to_send()
    pairs = [(":method", "GET"), (":scheme", "https"), (":authority", "app.fly.dev"), (":path", "/")]
    h2.send_headers(1, pairs, end_stream=True)
    head = h2.data_to_send()
    open_head = head[:4] + bytes([head[4] & ~0x4]) + head[5:]  # without END_HEADERS
    sent = {
        "preface": preface[:5],
        "frame header": preface + head[:4],
        "headers": preface + head[:12],
        "continuation": preface + open_head,
    }[cut]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", edge.standin.ports.https, ssl=edge.tls("h2"), server_hostname="localhost"
    )
    writer.write(sent)
    async with asyncio.timeout(60):
        while await reader.read(65536):
            pass
    writer.close()
    assert edge.standin.context.log.entries()[-1].status == 408


async def test_continuation_frames_do_not_put_the_timeout_off_and_a_slow_body_has_none(start_edge: StartEdge) -> None:
    edge = await start_edge(head_timeout_s=0.5)
    async with Raw(edge) as slow:
        stream = slow.request("/echo", method="POST", end=False)
        slow.h2.send_data(stream, b"x" * 100)
        data = slow.h2.data_to_send()
        slow._writer.write(data[:-50])  # a DATA frame that is not complete
        await asyncio.sleep(0)
        async with Raw(edge) as loris:
            stream = loris.h2.get_next_available_stream_id()
            loris.h2.send_headers(stream, [(":method", "GET"), (":scheme", "https"), (":path", "/")], end_stream=True)
            head = loris.h2.data_to_send()
            loris._writer.write(head[:4] + bytes([head[4] & ~0x4]) + head[5:])
            ended = asyncio.create_task(loris._reader.read(-1))
            while not ended.done():
                loris._writer.write(b"\0\0\0\x09\0" + stream.to_bytes(4))
                await asyncio.wait({ended}, timeout=0.1)
        slow._writer.write(data[-50:])
        slow.h2.end_stream(1)
        slow.send()
        events = await slow.events(StreamEnded)
    assert any(isinstance(event, ResponseReceived) for event in events)
