"""WebSockets as a page uses them: they open over wss, on any Machine, and close in order when their Machine stops."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from parity.checks import Proxy, check
from parity.checks.generic.support import not_declared, several_machines
from parity.checks.machines import Machines
from parity.checks.person import People, Person
from parity.checks.stack import Stack, ssl_context
from parity.contract import Socket

OPEN_S, SAID_S, CLOSED_S = 40.0, 30.0, 90.0
# Seconds for which a WebSocket without messages must stay open in these checks.
IDLE_S = 2.0
NORMAL, GOING_AWAY, CRASHED, GONE = 1000, 1001, 1011, 1006
NONSENSE: tuple[str | bytes, ...] = ("", "no JSON", "[]", '{"type": 7}', b"\x00\xff", "x" * 70_000)


class NotOpened(AssertionError):
    """The app or the edge refused the handshake of a WebSocket."""


@asynccontextmanager
async def opened(person: Person, socket: Socket, stack: Stack, *, path: str = "") -> AsyncIterator[ClientConnection]:
    """Open the WebSocket with the person's headers, on the Machine to which the person is pinned.

    ``path`` replaces the path of the contract. Raises ``NotOpened``.
    """
    url = httpx.URL(stack.target.api_url).join(path or socket.path)
    sent = {**person.api.headers_for("WEBSOCKET"), **socket.headers}
    request = person.api.http.build_request("GET", url, headers=sent)
    wanted = {"cookie", *(name.lower() for name in sent)}
    sent = {name: value for name, value in request.headers.items() if name in wanted}
    try:
        connection = await websockets.connect(
            str(url).replace("https://", "wss://", 1).replace("http://", "ws://", 1),
            ssl=ssl_context(stack.target.ca) if url.scheme == "https" else None,
            origin=None,
            additional_headers=sent,
            subprotocols=[websockets.Subprotocol(name) for name in socket.subprotocols] or None,
            open_timeout=OPEN_S,
            proxy=None,
        )
    except (websockets.InvalidHandshake, TimeoutError, OSError) as error:
        raise NotOpened(
            f"{url.path} was refused: {error}. Look at the Machine's log: the route must exist and accept this person"
        ) from None
    async with connection:
        yield connection


async def first_message(connection: ClientConnection, socket: Socket) -> str | None:
    """The first message after ``send``; None where none comes within ``SAID_S`` seconds or the WebSocket closes."""
    if socket.send:
        await connection.send(socket.send)
    with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
        return str(await asyncio.wait_for(connection.recv(), SAID_S))
    return None


@check(
    "I",
    "WebSockets open through the edge over wss, and stay open without messages",
    broken=Proxy("sockets_refused"),
    because="was refused: .* the route must exist",
    needs=("sockets",),
    live=True,
    fast=True,
)
async def test_sockets_open(person: Person, stack: Stack) -> None:
    """Accept the WebSocket, and let its loop run until the client disconnects."""
    for socket in await person.app.sockets():
        async with opened(person, socket, stack) as connection:
            if socket.send:
                await connection.send(socket.send)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.wait_closed(), IDLE_S)
            assert connection.close_code is None, (
                f"{socket.path.partition('?')[0]} was closed with {connection.close_code} within {IDLE_S:g} s, although"
                " the client was still connected. Let the loop that serves it run until the client disconnects"
            )


@check(
    "I",
    "A WebSocket sends the message that the contract expects",
    broken=Proxy("sockets_silent"),
    because="says nothing",
    needs=("sockets",),
    live=True,
    rests_on=("test_sockets_open",),
)
async def test_sockets_speak(person: Person, stack: Stack) -> None:
    """Send the current state when the WebSocket opens, not only at the next change."""
    expecting = [socket for socket in await person.app.sockets() if socket.expect]
    if not expecting:
        not_declared("the contract names no expected message (Socket.expect)")
    for socket in expecting:
        async with opened(person, socket, stack) as connection:
            said = await first_message(connection, socket)
        path = socket.path.partition("?")[0]
        assert said is not None, (
            f"{path} opens and says nothing within {SAID_S:g} s: send the current state when it opens"
        )
        assert re.search(socket.expect, said), (
            f"{path} sends {said[:200]!r}, which does not match {socket.expect!r} of the contract (Socket.expect)"
        )


@check(
    "D",
    "A WebSocket opens on a Machine that never served the person, and sends the same messages",
    broken=Proxy("sockets_refused"),
    because="was refused: .* the route must exist",
    needs=("sockets",),
    rests_on=("test_durable",),
)
async def test_sockets_on_another_machine(person: Person, machines: Machines, stack: Stack) -> None:
    """Share events through the bucket or a message channel, not through the memory of one Machine."""
    several_machines(person)
    await person.write()
    sockets = await person.app.sockets()
    async with machines.one_more() as two:
        for socket in sockets:
            async with opened(person.on(two), socket, stack) as connection:
                said = await first_message(connection, socket) if socket.expect else ""
            assert said is not None, (
                f"{socket.path.partition('?')[0]} says nothing on a Machine that never served the person: share events"
                " through the bucket or a message channel"
            )
            assert re.search(socket.expect, said), (
                f"on a Machine that never served the person it sends {said[:200]!r}, which does not match"
                f" {socket.expect!r} of the contract (Socket.expect)"
            )


@check(
    "I",
    "When a Machine stops it closes its WebSockets with 1001, so that the page reconnects",
    broken=Proxy("sockets_closed_at_once"),
    because="ended with 1000",
    needs=("sockets",),
    apart=True,
    deadline_s=150,
)
async def test_sockets_at_a_stop(person: Person, machines: Machines, stack: Stack) -> None:
    """End the loops of WebSockets when the server shuts down, and close with 1001 (going away)."""
    for socket in await person.app.sockets():
        machine = await machines.first()
        async with opened(person.on(machine), socket, stack) as connection:
            if socket.send:
                await connection.send(socket.send)
            stop = asyncio.create_task(machines.stop(machine))
            await asyncio.wait_for(connection.wait_closed(), CLOSED_S)
            signals = await stop
        path = socket.path.partition("?")[0]
        assert connection.close_code == GOING_AWAY, (
            f"{path} ended with {connection.close_code} when its Machine stopped, not with {GOING_AWAY} (going away). A"
            " page takes another code for a final end and does not reconnect: end the loop when the server shuts down"
        )
        assert len(signals) == 1, (
            f"with {path} open the Machine did not end at its kill_signal; Fly had to send {', '.join(signals)}. End"
            " the loop of a WebSocket when the server shuts down"
        )


@check(
    "I",
    "A malformed frame does not crash the handler of a WebSocket",
    broken=Proxy("sockets_break_on_nonsense"),
    because="ended with 1011",
    needs=("sockets",),
    rests_on=("test_sockets_open",),
)
async def test_sockets_take_nonsense(person: Person, machines: Machines, stack: Stack) -> None:
    """Catch the exceptions of reading and parsing a frame; ignore the frame, or close with 1003 or 1008."""
    machine = await machines.first()
    for socket in await person.app.sockets():
        for frame in NONSENSE:
            before = await tracebacks(machines, machine)
            async with opened(person, socket, stack) as connection:
                with contextlib.suppress(websockets.ConnectionClosed):
                    await connection.send(frame)
                    await connection.ping()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(connection.wait_closed(), 0.5)
                code = connection.close_code
            # 1006 means that no close frame came. Only a traceback in the log shows that the handler crashed.
            crashed = code == CRASHED or (code == GONE and await tracebacks(machines, machine) > before)
            path = socket.path.partition("?")[0]
            assert not crashed, (
                f"{path} ended with {code} after the frame {frame[:20]!r}, because its handler raised an exception."
                " Ignore such a frame, or close with 1003 or 1008"
            )


async def tracebacks(machines: Machines, machine: str) -> int:
    """The number of tracebacks in the Machine's log."""
    return sum("Traceback (most recent call last)" in line for line in await machines.logs(machine))


@check(
    "V",
    "A person cannot open another person's WebSocket by putting that person's id into the path",
    broken=Proxy("sockets_trust_the_path"),
    because="opens the WebSocket of",
    needs=("sockets",),
    live=True,
    rests_on=("test_sockets_open",),
)
async def test_sockets_of_others(person: Person, people: People, stack: Stack) -> None:
    """Take the person from the cookie or token, as the other routes do, never from the path or query."""
    other = await people()
    mine = [socket for socket in await person.app.sockets() if person.api.user in socket.path]
    if not mine:
        not_declared("no path of a WebSocket contains the person's id")
    if person.api.user in person.api.headers.values():
        not_declared("the app has no authentication: its requests name the person in a header that any client can set")
    for socket in mine:
        stolen = socket.path.replace(person.api.user, other.api.user)
        try:
            async with opened(person, socket, stack, path=stolen) as connection:
                if socket.send:
                    await connection.send(socket.send.replace(person.api.user, other.api.user))
                said = await messages(connection, 1.0)
                await other.write()
                later = await messages(connection, IDLE_S)
        except NotOpened:
            continue
        leaked = later or [one for one in said if other.api.user in one]
        assert not leaked, (
            f"with the id of another person in its path {socket.path.partition('?')[0]} opens the WebSocket of that"
            f" person, and sends {leaked[0][:100]!r}. Take the person from the cookie or token, never from the path"
        )


async def messages(connection: ClientConnection, quiet_s: float) -> list[str]:
    """The messages until none comes for ``quiet_s`` seconds, 100 have come, or the WebSocket closes."""
    found: list[str] = []
    with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
        while len(found) < 100:
            found.append(str(await asyncio.wait_for(connection.recv(), quiet_s)))
    return found
