"""One request on its way: hold, send, answer, replay, tunnel. Drives a client's stream and a Machine's connection."""

from __future__ import annotations

import asyncio
import time

from parity.fly.edge.answer import Answer
from parity.fly.edge.context import EdgeContext, Target, Wish, wish_of
from parity.fly.edge.headers import Headers, new_request_id
from parity.fly.edge.kept_body import KeptBody
from parity.fly.edge.log import entry_of
from parity.fly.edge.replay import MAX_HOPS, Replay, ReplayError, parse_replay, replay_source
from parity.fly.edge.request import Body, Request, Stream
from parity.fly.edge.to_app import body_to_app, end_to_app, head_to_app, headers_to_app
from parity.fly.edge.tunnel import Tunnel
from parity.fly.edge.upstream import Upstream

# Bytes of a body that are held for a request that waits for its Machine; then the client is no longer read.
HOLD = 64 * 1024
# Methods that may be sent again when a kept-alive connection turns out to be dead (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
CONNECT_ATTEMPTS = 2
# After the edge's own close frame: how long the client has to answer it, in seconds.
CLOSE_WAIT_S = 1.0


class Exchange:
    """From the request's head to the response's end. All methods run in the event loop's thread."""

    def __init__(self, context: EdgeContext, stream: Stream, request: Request) -> None:
        self._context, self._stream, self.request = context, stream, request
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.touched = self._started
        self._received = time.time()
        self.request_id = new_request_id(context.region, self._received)
        self.wish = wish_of(request.headers)
        self._body = KeptBody(context.budget)
        self._target: Target | None = None
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._attempts = 0
        self._hops = 0
        self._replayed_from: bytes | None = None
        self._body_paused = False
        self._answered = False
        self._over = False
        self._tunnel: Tunnel | None = None
        self._tail = bytearray()
        self.entry = entry_of(request, self.request_id, self._received)
        self._answer = Answer(context, stream, request, self.entry, self._elapsed)

    @property
    def websocket(self) -> bool:
        return self.request.websocket

    @property
    def request_ended(self) -> bool:
        return self._body.ended

    def start(self) -> None:
        """Ask for a Machine."""
        self._context.live.add(self)
        self._context.log.add(self.entry)
        self._context.gate.acquire(self)

    # the gate

    def assigned(self, target: Target) -> None:
        if self._over:
            self._context.gate.release(target, websocket=self.websocket)
            return
        self._target = target
        self.entry.machines.append(target.id)
        if self.entry.assigned_ms is None:
            self.entry.assigned_ms = self._elapsed()
        connection = None if self.websocket else self._context.pool.take(target.id)
        if connection:
            self._attach(connection)
        else:
            self._connect(target)

    def refused(self, status: int, reason: str) -> None:
        self._answer_locally(status, reason)
        self._stream.flush()

    def _connect(self, target: Target) -> None:
        self._connecting = self._loop.create_task(self._connected(target))

    async def _connected(self, target: Target) -> None:
        try:
            if target.address is None:
                raise ConnectionRefusedError(f"Machine {target.id} has no address")
            address = await self._context.interposed.address(target.address, websocket=self.websocket)
            connection = await self._context.pool.connect(target.id, address)
        except OSError as error:
            self._connecting = None
            self._unreachable(target, str(error))
            return
        self._connecting = None
        if self._over or self._target is not target:
            connection.abandon()
            return
        self._attach(connection)

    def _unreachable(self, target: Target, reason: str) -> None:
        if self._over:
            return
        self._release()
        self._context.gate.unreachable(target)
        self._attempts += 1
        if self._attempts < CONNECT_ATTEMPTS:
            self._context.gate.acquire(self)
        else:
            self.refused(502, f"PC01: could not connect to Machine {target.id}: {reason}")

    def _attach(self, connection: Upstream) -> None:
        self._upstream = connection
        request = self.request
        headers = headers_to_app(request, self.request_id, self._context.region, self._received, self._replayed_from)
        self.entry.to_app = headers
        connection.begin(self, head_to_app(request, headers), head_request=request.method == b"HEAD")
        for piece in self._body.pieces():
            connection.write(body_to_app(request, piece))
        if self._body.ended:
            self._send_request_end(connection)
        self._resume_body()

    # the client

    def client_body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self.touched = self._loop.time()
        self.entry.bytes_in += len(data)
        if self._over or self._answered or not data:
            return  # nothing more is wanted; and an empty chunk would end a chunked body
        self._body.add(data, must_keep=self._upstream is None)
        if self._upstream:
            self._upstream.write(body_to_app(self.request, data))
        elif self._body.size > HOLD:
            self._pause_body()

    def client_end(self, trailers: Headers) -> None:
        """The request is complete."""
        self._body.end(trailers)
        if self._upstream and not self._over:
            self._send_request_end(self._upstream)

    def client_raw(self, data: bytes) -> None:
        """Bytes after an upgrade; those that come before the Machine's 101 are kept."""
        self.touched = self._loop.time()
        self.entry.bytes_in += len(data)
        if self._tunnel is None:
            self._tail += data
            if len(self._tail) > HOLD:
                self._pause_body()
        elif self._upstream:
            self._upstream.write(data)

    def client_gone(self) -> None:
        """The client closed its connection or reset its stream."""
        if self._over:
            return
        self._context.gate.cancel(self)
        upstream, self._upstream = self._upstream, None
        if upstream:
            if self._tunnel is not None:
                upstream.close_tunnel()
            else:
                upstream.abandon()
        self._finish("closed" if self._tunnel is not None else "client gone")

    def client_write_paused(self) -> None:
        """The client reads too slowly."""
        if self._upstream:
            self._upstream.pause_reading()

    def client_write_resumed(self) -> None:
        if self._upstream:
            self._upstream.resume_reading()

    # the Machine's connection

    def app_informational(self, status: int, headers: Headers) -> None:
        self._answer.informational(status, headers)

    def app_head(self, status: int, headers: Headers, body: Body) -> None:
        self.touched = self._loop.time()
        assert self._target is not None
        try:
            replay = parse_replay(
                headers, app=self._context.config.app, region=self._context.region, from_machine=self._target.id
            )
            if replay:
                self._replay(replay)
                return
        except ReplayError as error:
            self._drop_upstream()
            self._answer_locally(502, str(error))
            return
        self._body.release()
        self._answer.head(status, headers, body)

    def app_data(self, data: bytes) -> None:
        self.touched = self._loop.time()
        self._answer.data(data)

    def app_end(self, trailers: Headers) -> None:
        self._upstream = None
        self._answer.rest()
        self._answered = True
        self._finish("ok")
        self._stream.send_end(trailers)

    def app_tunnel(self, headers: Headers) -> None:
        self._body.release()
        self._tunnel = Tunnel(self._stream.send_raw, self._said_goodbye)
        self._answer.tunnel(headers)
        if self._tail and self._upstream:
            self._upstream.write(bytes(self._tail))
            self._tail.clear()
        self._resume_body()

    def app_tunnel_data(self, data: bytes) -> None:
        self.touched = self._loop.time()
        self.entry.bytes_out += len(data)
        assert self._tunnel is not None
        self._tunnel.pass_on(data)

    def app_failed(self, reason: str, *, clean: bool) -> None:
        connection, self._upstream = self._upstream, None
        if self._over:
            return
        if self._tunnel is not None:
            self._finish("closed" if clean else reason)
            self._stream.close_tunnel()
        elif self._answer.begun:
            self._finish(f"cut: {reason}")
            self._stream.abort()
        elif connection and connection.reused and self._can_repeat() and self._target:
            self._connect(self._target)
        else:
            self._release()
            self._answer_locally(502, f"PU02: Machine failed before it answered: {reason}")

    def app_flush(self) -> None:
        self._stream.flush()

    def app_write_paused(self) -> None:
        self._pause_body()

    def app_write_resumed(self) -> None:
        self._resume_body()

    # endings

    def goaway(self, machine: str, code: int) -> None:
        """Close this WebSocket with ``code`` when it belongs to ``machine``."""
        if self._tunnel is not None and not self._over and self._target is not None and self._target.id == machine:
            self._tunnel.goaway(code)

    def expire(self) -> None:
        """Silent for too long."""
        if not self._answer.begun:
            self._drop_upstream()
            self._context.gate.cancel(self)
            self.refused(502, "idle timeout")
        else:
            self._drop_upstream()
            self._finish("cut: idle timeout")
            self._stream.abort()

    def _said_goodbye(self, code: int) -> None:
        self.entry.close_code = code
        self._loop.call_later(CLOSE_WAIT_S, self._close_waited)

    def _close_waited(self) -> None:
        if not self._over:
            self._drop_upstream(tunnel=True)
            self._finish("goaway")
            self._stream.close_tunnel()

    def _replay(self, replay: Replay) -> None:
        assert self._target is not None
        self._hops += 1
        if self._hops > MAX_HOPS:
            raise ReplayError(f"fly-replay: more than {MAX_HOPS} hops")
        if not self._body.complete:
            raise ReplayError("fly-replay: the request's body is too large to be sent again")
        self._replayed_from = replay_source(
            self._target.id, self._context.region, int(time.time() * 1_000_000), replay.state
        )
        self.wish = Wish(replay.instance, replay.prefer_instance, replay.excluded)
        self._drop_upstream()
        self._context.gate.acquire(self)

    def _can_repeat(self) -> bool:
        return self._body.complete and self.request.method in IDEMPOTENT

    def _answer_locally(self, status: int, reason: str) -> None:
        if self._over:
            return
        self._answered = True
        self._body.release()
        self._answer.empty(status)
        self._finish(reason)
        self._stream.send_end([])

    def _drop_upstream(self, *, tunnel: bool = False) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream:
            upstream.close_tunnel() if tunnel else upstream.abandon()
        self._release()

    def _release(self) -> None:
        target, self._target = self._target, None
        if target:
            self._context.gate.release(target, websocket=self.websocket)

    def _finish(self, outcome: str) -> None:
        self._over = True
        self.entry.outcome, self.entry.end_ms = outcome, self._elapsed()
        if self._body.complete:
            self._body.release()
        if self._connecting:
            self._connecting.cancel()
        self._release()
        self._resume_body()
        self._context.live.discard(self)

    # small parts

    def _send_request_end(self, connection: Upstream) -> None:
        connection.write(end_to_app(self.request, self._body.trailers))
        connection.end_request()

    def _pause_body(self) -> None:
        if not self._body_paused:
            self._body_paused = True
            self._stream.pause_body()

    def _resume_body(self) -> None:
        if self._body_paused:
            self._body_paused = False
            self._stream.resume_body()

    def _elapsed(self) -> float:
        return round((self._loop.time() - self._started) * 1000, 3)
