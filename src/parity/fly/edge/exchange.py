"""Handles one request: waits for a Machine, sends the request, and forwards the response, a replay or a WebSocket.

An exchange is in exactly one ``Stage``; ``FOLLOWS`` is the whole state machine. ``Route`` decides where the request
goes, ``Answer`` writes the response to the client.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum

from parity.fly.edge.answer import Answer
from parity.fly.edge.context import EdgeContext, Target
from parity.fly.edge.headers import Headers, new_request_id, value_of
from parity.fly.edge.instruction import Instruction
from parity.fly.edge.kept_body import BODY_LIMIT, KeptBody
from parity.fly.edge.log import entry_of
from parity.fly.edge.replay import ReplayError, is_json_form, read_header
from parity.fly.edge.request import Body, Request, Stream
from parity.fly.edge.route import Route
from parity.fly.edge.to_app import headers_to_app
from parity.fly.edge.tunnel import Tunnel
from parity.fly.edge.upstream import AnyUpstream
from parity.fly.edge.wish import Wish

# Bytes of a request's body that are buffered while it waits for a Machine; above that, reading from the client stops.
HOLD = 64 * 1024
CONNECT_ATTEMPTS = 2
# How long the client has to answer the edge's own close frame, in seconds.
CLOSE_WAIT_S = 1.0


class Stage(Enum):
    """The state of an exchange."""

    HELD = "held"  # has no Machine yet
    CONNECTING = "connecting"  # to its Machine
    SENT = "sent"  # the Machine has the request or a part of it, and has not responded
    REPLAYING = "replaying"  # the Machine responded with a replay, and its body is still being read
    ANSWERING = "answering"  # the client got the head of the response
    TUNNEL = "tunnel"  # a WebSocket passes through
    CLOSING = "closing"  # the edge sent its own close frame to a WebSocket
    OVER = "over"


FOLLOWS: dict[Stage, frozenset[Stage]] = {
    Stage.HELD: frozenset({Stage.CONNECTING, Stage.SENT, Stage.OVER}),
    Stage.CONNECTING: frozenset({Stage.HELD, Stage.SENT, Stage.OVER}),
    Stage.SENT: frozenset({Stage.REPLAYING, Stage.ANSWERING, Stage.TUNNEL, Stage.OVER}),
    Stage.REPLAYING: frozenset({Stage.HELD, Stage.OVER}),
    Stage.ANSWERING: frozenset({Stage.OVER}),
    Stage.TUNNEL: frozenset({Stage.CLOSING, Stage.OVER}),
    Stage.CLOSING: frozenset({Stage.OVER}),
    Stage.OVER: frozenset(),
}
WEBSOCKET = frozenset({Stage.TUNNEL, Stage.CLOSING})


class Exchange:
    """One exchange, from the request's head to the response's end. Not thread-safe: use it in the event loop only."""

    def __init__(self, context: EdgeContext, stream: Stream, request: Request) -> None:
        self._context, self._stream, self.request = context, stream, request
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.touched = self._started
        self._received = time.time()
        self.request_id = new_request_id(context.region, self._received)
        self.stage = Stage.HELD
        self._route = Route(context.replay_cache, request, app=context.config.app, region=context.region)
        self._body = KeptBody(context.budget)
        self._body_paused = False
        self._target: Target | None = None
        self._upstream: AnyUpstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._attempts = 0
        self._instruction: Instruction | None = None
        self._replayed = self._started  # when the last replay began
        self._overdue: asyncio.TimerHandle | None = None
        self._tunnel: Tunnel | None = None
        self._tail = bytearray()
        self.entry = entry_of(request, self.request_id, self._received)
        self._answer = Answer(context, stream, request, self.entry, self._elapsed)

    @property
    def websocket(self) -> bool:
        return self.request.websocket

    @property
    def wish(self) -> Wish:
        """The constraints on the Machine that the gate may assign."""
        return self._route.wish

    @property
    def request_ended(self) -> bool:
        return self._body.ended

    def start(self) -> None:
        """Ask for a Machine."""
        self._context.live.add(self)
        self._context.log.add(self.entry)
        self.entry.replay_cache = self._route.note
        self._context.gate.acquire(self)

    def _go(self, stage: Stage) -> None:
        assert stage in FOLLOWS[self.stage], f"{self.stage} -> {stage}"
        self.stage = stage

    # the gate

    def assigned(self, target: Target) -> None:
        if self.stage is Stage.OVER:
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
            self._go(Stage.CONNECTING)
            self._connecting = self._loop.create_task(self._connect(target))

    def refused(self, status: int, reason: str) -> None:
        if self.stage is Stage.OVER:
            return
        failure = "no_candidate" if reason.startswith(("PR01", "PR03")) else "retries_exhausted"
        if self._route.forget_cached() or self._fell_back(failure):
            self._context.gate.acquire(self)
            return
        self._answer_locally(status, reason)
        self._stream.flush()

    async def _connect(self, target: Target) -> None:
        try:
            if target.address is None:
                raise ConnectionRefusedError(f"Machine {target.id} has no address")
            address = await self._context.interposed.address(target.address, websocket=self.websocket)
            connection = await self._context.pool.connect(target.id, address, websocket=self.websocket)
        except OSError as error:
            self._unreachable(target, str(error))
            return
        if self.stage is not Stage.CONNECTING or self._target is not target:
            connection.abandon()
            return
        self._attach(connection)

    def _unreachable(self, target: Target, reason: str) -> None:
        if self.stage is not Stage.CONNECTING or self._target is not target:
            return
        self._connecting = None
        self._release()
        self._go(Stage.HELD)
        self._context.gate.unreachable(target)
        self._attempts += 1
        if self._attempts < CONNECT_ATTEMPTS:
            self._context.gate.acquire(self)
        else:
            self.refused(502, f"PC01: could not connect to Machine {target.id}: {reason}")

    def _attach(self, connection: AnyUpstream) -> None:
        self._connecting = None
        assert self._target is not None
        request = self._route.request
        routed = self._route.headers_for(self._target.id)
        headers = headers_to_app(request, self.request_id, self._context.region, self._received, routed)
        self._go(Stage.SENT)
        self._route.reached()
        self._stop_clock()
        self._upstream = connection
        self.entry.to_app = headers
        connection.begin(self, request, headers)
        for piece in self._body.pieces():
            connection.send_body(piece)
        if self._body.ended:
            connection.send_end(self._body.trailers)
        self._resume_body()

    # the client

    def client_body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self.touched = self._loop.time()
        self.entry.bytes_in += len(data)
        if self.stage is Stage.OVER or not data:
            return  # the rest is not needed; and an empty chunk would end a chunked body
        self._body.add(data, must_keep=self._upstream is None)
        if self._upstream:
            self._upstream.send_body(data)
        elif self._body.size > HOLD:
            self._pause_body()

    def client_end(self, trailers: Headers) -> None:
        """The request is complete."""
        self._body.end(trailers)
        if self._upstream and self.stage is not Stage.OVER:
            self._upstream.send_end(trailers)

    def client_raw(self, data: bytes) -> None:
        """Bytes after an upgrade. Those that arrive before the Machine's 101 are buffered."""
        self.touched = self._loop.time()
        self.entry.bytes_in += len(data)
        if self.stage not in WEBSOCKET:
            self._tail += data
            if len(self._tail) > HOLD:
                self._pause_body()
        elif self._upstream:
            self._upstream.write(data)

    def client_gone(self) -> None:
        """The client closed its connection or reset its stream."""
        if self.stage is Stage.OVER:
            return
        self._context.gate.cancel(self)
        tunnel = self.stage in WEBSOCKET
        self._drop_upstream(tunnel=tunnel)
        self._finish("closed" if tunnel else "client gone")

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
        app = self._context.config.app
        try:
            replay = read_header(headers, app=app)
        except ReplayError as error:
            self._fail_replay(error)
            return
        if replay or is_json_form(headers):
            self._go(Stage.REPLAYING)
            self._instruction = Instruction(replay, app)
            return
        self._go(Stage.ANSWERING)
        self._body.release()
        self._answer.head(status, headers, body)

    def app_data(self, data: bytes) -> None:
        self.touched = self._loop.time()
        if self.stage is Stage.REPLAYING and self._instruction:
            try:
                if not self._instruction.add(data):
                    self._replay()
            except ReplayError as error:
                self._fail_replay(error)
        elif self.stage is Stage.ANSWERING:
            self._answer.data(data)

    def app_end(self, trailers: Headers) -> None:
        self._upstream = None
        if self.stage is Stage.REPLAYING:
            self._replay()
        else:
            self._answer.rest()
            self._finish("ok")
            self._stream.send_end(trailers)

    def app_tunnel(self, headers: Headers) -> None:
        if not self.websocket:
            self._drop_upstream()
            self._answer_locally(502, "PU02: the Machine answered 101 to a request without an upgrade")
            return
        self._go(Stage.TUNNEL)
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
        if self._tunnel:
            self._tunnel.pass_on(data)

    def app_failed(self, reason: str, *, clean: bool) -> None:
        self._upstream = None
        if self.stage in WEBSOCKET:
            self._finish("closed" if clean else reason)
            self._stream.close_tunnel()
        elif self.stage is Stage.ANSWERING:
            self._finish(f"cut: {reason}")
            self._stream.abort()
        elif self.stage is Stage.REPLAYING and self._instruction and self._instruction.known:
            self._replay()
        elif self.stage is not Stage.OVER:
            self._answer_locally(502, f"PU02: Machine failed before it answered: {reason}")

    def app_flush(self) -> None:
        self._stream.flush()

    def app_write_paused(self) -> None:
        self._pause_body()

    def app_write_resumed(self) -> None:
        self._resume_body()

    # replays

    def _replay(self) -> None:
        """Replay the request as the Machine's response says."""
        assert self._target is not None
        assert self._instruction is not None
        source, instruction, self._instruction = self._target.id, self._instruction, None
        try:
            if not self._repeatable:
                raise ReplayError(f"fly-replay: the request's body is larger than {BODY_LIMIT} bytes")
            self._route.replay(instruction.read(), source, int(time.time() * 1_000_000))
        except ReplayError as error:
            self._fail_replay(error)
            return
        self.entry.replay_cache = self._route.note
        self._drop_upstream()
        self._go(Stage.HELD)
        self._attempts, self._replayed = 0, self._loop.time()
        self._start_clock()
        self._context.gate.acquire(self)

    @property
    def _repeatable(self) -> bool:
        length = value_of(self.request.headers, b"content-length") or b"0"
        return self._body.complete and self.entry.bytes_in <= BODY_LIMIT and int(length) <= BODY_LIMIT

    def _fail_replay(self, error: ReplayError) -> None:
        self._drop_upstream()
        self._answer_locally(502, str(error))

    def _replay_overdue(self) -> None:
        """The replay's timeout expired before its target was reached."""
        if self.stage not in (Stage.HELD, Stage.CONNECTING):
            return
        if self._context.paused():
            self._start_clock()
            return
        self._context.gate.cancel(self)
        if self.stage is Stage.CONNECTING:
            self._stop_connecting()
            self._release()
            self._go(Stage.HELD)
        if self._fell_back("timeout"):
            self._context.gate.acquire(self)
        else:
            self._answer_locally(502, "PR04: the replay did not reach its target within its timeout")
            self._stream.flush()

    def _fell_back(self, reason: str) -> bool:
        self._stop_clock()
        return self._route.fall_back(reason, int((self._loop.time() - self._replayed) * 1000))

    def _start_clock(self) -> None:
        if self._route.timeout_s is not None:
            self._overdue = self._loop.call_later(self._route.timeout_s, self._replay_overdue)

    def _stop_clock(self) -> None:
        if self._overdue:
            self._overdue.cancel()
            self._overdue = None

    # endings

    def goaway(self, machine: str, code: int) -> None:
        """Close this WebSocket with ``code`` when it belongs to ``machine``."""
        if self._tunnel and self.stage is Stage.TUNNEL and self._target is not None and self._target.id == machine:
            self._tunnel.goaway(code)

    def expire(self) -> None:
        """The idle timeout expired."""
        if self.stage is Stage.OVER:
            return
        begun = self._answer.begun
        self._drop_upstream()
        if not begun:
            self._context.gate.cancel(self)
            self._answer_locally(502, "idle timeout")
            self._stream.flush()
        else:
            self._finish("cut: idle timeout")
            self._stream.abort()

    def _said_goodbye(self, code: int) -> None:
        self._go(Stage.CLOSING)
        self.entry.close_code = code
        self._loop.call_later(CLOSE_WAIT_S, self._close_waited)

    def _close_waited(self) -> None:
        if self.stage is Stage.CLOSING:
            self._drop_upstream(tunnel=True)
            self._finish("goaway")
            self._stream.close_tunnel()

    def _answer_locally(self, status: int, reason: str) -> None:
        if self.stage is Stage.OVER:
            return
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

    def _stop_connecting(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting:
            connecting.cancel()

    def _finish(self, outcome: str) -> None:
        self._go(Stage.OVER)
        self.entry.outcome, self.entry.end_ms = outcome, self._elapsed()
        if self._body.complete:
            self._body.release()
        self._stop_clock()
        self._stop_connecting()
        self._release()
        self._resume_body()
        self._context.live.discard(self)

    # small parts

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
