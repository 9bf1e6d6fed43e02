"""uvicorn's protocols with limits that uvicorn lacks. The image starts uvicorn with `--http app.server:HttpProtocol`
and `--ws app.server:WebSocketProtocol`.

Without these limits a client can fill the memory of a Machine with endless headers (50 MB of small ones take 700 MB) or
with pongs that it does not read, keep a connection open for ever with half a request, and block the event loop with
small frames until health checks fail. Fly's edge refuses most of this, but a Machine should not depend on it.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

HEAD_BYTES: Final = 64 * 1024
"""Largest request line with headers, not counting the block of data in which they begin."""
PART_SECONDS: Final = 10.0
"""How long a request line with its headers, a WebSocket handshake, or the rest of an answered request's body may take
to arrive."""
SLICE_BYTES: Final = 4096
"""Frames are read in slices of this length; in between, the event loop serves other connections."""
MAX_FRAGMENTS: Final = 1024
"""Per WebSocket message."""
LINGER_SECONDS: Final = 5.0
"""How long what a client still sends is read and dropped after its mistake was answered with a close frame."""
MAX_UNREAD_BYTES: Final = 1024 * 1024
"""Limit of the write buffer for pongs that a client does not read."""


class _WithoutQueries(logging.Filter):
    """Removes queries from the URLs that uvicorn logs. A query may carry a signature, or whatever a client
    puts there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                value.partition("?")[0] if isinstance(value, str) and value.startswith("/") else value
                for value in record.args
            )
        return True


_without_queries: Final = _WithoutQueries()


def log_no_queries() -> None:
    """Keep the queries of requests and WebSockets out of uvicorn's logs."""
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addFilter(_without_queries)


class HttpProtocol(HttpToolsProtocol):
    """Answers 431 for a head that is too long, and 408 for one that does not end. Closes a connection whose request was
    answered, but whose body does not end."""

    _in_head = False
    _in_body = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self) -> None:
        self._in_body = False  # the connection has another protocol from here on
        super().handle_websocket_upgrade()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers also arrive here. The app has no use for them.
        if self._in_head:
            super().on_header(name, value)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, "Request Header Fields Too Large", f"The headers have more than {HEAD_BYTES} bytes.")
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Give the client `PART_SECONDS` for the part of a request that it is sending. While the app runs, the app has
        its own deadline for the body."""
        answered = self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing() or not (self._in_head or (self._in_body and answered)):
            self._stop_timer()
            idle = answered and not self._in_head and not self.transport.is_closing()
            if idle and self.timeout_keep_alive_task is None and self.transport.get_protocol() is self:
                # uvicorn forgets it where a body ends after its response.
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        elif self._timer is None:
            self._timer = self.loop.call_later(PART_SECONDS, self._is_late)

    def _is_late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refuse(408, "Request Timeout", f"The headers did not arrive within {PART_SECONDS:g} s.")
        else:
            self.transport.close()

    def _refuse(self, status: int, phrase: str, why: str) -> None:
        self._stop_timer()
        self._in_head = False
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(why)}\r\n\r\n{why}".encode("ascii"))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes with 1008 for too many fragments or unread pongs, and with 1007 for text that is not UTF-8 (uvicorn logs a
    traceback). Answers 408 if the handshake does not arrive in time.

    After such a close frame it goes on reading for a while. To close a socket with unread data resets the connection,
    and a client that is still sending then loses the close frame (through the edge, 2 of 6 clients saw 1006 instead of
    1009 for a frame of 64 MB, measured 2026-11-28)."""

    _lingering = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._rest = bytearray()
        self._reading_rest = False
        self._handshake_timer = self.loop.call_later(PART_SECONDS, self._handshake_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._handshake_timer.cancel()
        self._rest.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)  # the request, in one piece
            if self.handshake_initiated:
                self._handshake_timer.cancel()
            elif self.conn.handshake_exc is not None:
                self._refuse_handshake()
            return
        if self._lingering:
            return
        self._rest += data
        if not self._reading_rest:
            self._read_slice()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # A refusal answers the handshake too. Without this, uvicorn logs an error for each one.
            self.handshake_complete = True

    async def receive(self) -> Any:
        message = await super().receive()
        if self._rest:
            self.transport.pause_reading()
        return message

    def handle_ping(self) -> None:
        if self.close_sent or self.transport.is_closing():
            return  # further frames of the slice that ended the connection
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._fail(CloseCode.POLICY_VIOLATION, "the client does not read pongs")
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            return
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(CloseCode.POLICY_VIOLATION, f"the message has more than {MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "the text is not UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        frame = self.conn.close_sent
        if frame is not None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": frame.code, "reason": frame.reason})
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self._linger()
            return
        # Before the handshake is answered, there is no close frame.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE})
        self.close_sent = True
        self.transport.close()

    def _read_slice(self) -> None:
        """Handle one slice. The rest waits until the event loop has run other callbacks and the app has received."""
        self._reading_rest = False
        if self.transport.is_closing() or self._lingering:
            self._rest.clear()
            return
        piece = bytes(self._rest[:SLICE_BYTES])
        del self._rest[:SLICE_BYTES]
        super().data_received(piece)
        if self._rest:
            self._reading_rest = True
            self.transport.pause_reading()
            self.loop.call_soon(self._read_slice)
        elif not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _fail(self, code: CloseCode, why: str) -> None:
        if self.close_sent:
            return
        self.frames = []
        self.conn.fail(code, why)
        self.handle_parser_exception()

    def _linger(self) -> None:
        if self.transport.is_closing():
            return
        self._lingering = self.disconnected = True  # for the app the client is gone
        self._rest.clear()
        self.read_paused = False
        self.transport.resume_reading()
        self.transport.write_eof()
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _refuse_handshake(self) -> None:
        """Send what websockets answers to a head that it cannot read, which uvicorn leaves unsent: 431 for a header
        line of more than 8 KiB or more than 128 lines, 414 for such a path (websockets 17.4, http11.py). Else 400."""
        answer = b"".join(self.conn.data_to_send())
        self.transport.write(answer or b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _handshake_is_late(self) -> None:
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
