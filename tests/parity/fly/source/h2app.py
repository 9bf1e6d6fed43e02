"""An app that speaks HTTP/2 without TLS and nothing else: python h2app.py HOST PORT"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, TrailersReceived, WindowUpdated


class App(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.requests: dict[int, dict[str, Any]] = {}
        self.out: dict[int, bytes] = {}
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                headers: Any = dict(event.headers)  # h2 types them as bytes, whatever their encoding is
                self.requests[event.stream_id] = {"headers": headers, "size": 0, "trailers": {}}
                if headers[":path"] == "/early":
                    self.h2.send_headers(
                        event.stream_id, [(":status", "413"), ("content-length", "0")], end_stream=True
                    )
            elif isinstance(event, DataReceived):
                self.requests[event.stream_id]["size"] += len(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, TrailersReceived):
                self.requests[event.stream_id]["trailers"] = dict(event.headers)
            elif isinstance(event, StreamEnded):
                self.answer(event.stream_id)
            elif isinstance(event, WindowUpdated):
                for stream in list(self.out):
                    self.push(stream)
        self.flush()

    def answer(self, stream: int) -> None:
        asked = self.requests.pop(stream)
        path = asked["headers"][":path"]
        if path == "/reset":
            self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            return
        if path == "/early":
            return
        data = b"x" * 1_000_000 if path == "/big" else json.dumps(asked).encode()
        self.h2.send_headers(stream, [(":status", "103"), ("link", "</a>")])
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
        self.out[stream] = data
        self.push(stream)

    def push(self, stream: int) -> None:
        while self.out[stream]:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                return
            self.h2.send_data(stream, self.out[stream][:room])
            self.out[stream] = self.out[stream][room:]
        del self.out[stream]
        self.h2.send_headers(stream, [("x-trailer", "end")], end_stream=True)

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(App, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()


asyncio.run(main())
