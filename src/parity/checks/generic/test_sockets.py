"""WebSockets as a page opens them: by wss, on any Machine, until their Machine stops."""

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

OPEN_S, SAID_S, CLOSED_S = 20.0, 15.0, 60.0
# How long a WebSocket on which nothing happens must stay open in these checks, in seconds.
IDLE_S = 2.0
NORMAL, GOING_AWAY, CRASHED, GONE = 1000, 1001, 1011, 1006
NONSENSE: tuple[str | bytes, ...] = ("", "no JSON", "[]", '{"type": 7}', b"\x00\xff", "x" * 70_000)


class NotOpened(AssertionError):
    """The handshake was refused."""


@asynccontextmanager
async def opened(person: Person, socket: Socket, stack: Stack, *, path: str = "") -> AsyncIterator[ClientConnection]:
    """The WebSocket as this person's browser opens it, on the Machine that the person is pinned to."""
    url = httpx.URL(stack.target.api_url).join(path or socket.path)
    request = person.api.http.build_request("GET", url, headers={**person.api.all_headers, **socket.headers})
    wanted = {"cookie", *(name.lower() for name in (*person.api.all_headers, *socket.headers))}
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
        raise NotOpened(f"{url.path} was refused: {error}") from None
    async with connection:
        yield connection


async def first_message(connection: ClientConnection, socket: Socket) -> str | None:
    """What the WebSocket says after ``send``; None where it says nothing in time, or was closed."""
    if socket.send:
        await connection.send(socket.send)
    with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
        return str(await asyncio.wait_for(connection.recv(), SAID_S))
    return None


@check(
    "I",
    "WebSockets open through the edge by wss, and stay open while nothing happens",
    broken=Proxy("sockets_refused"),
    because="was refused",
    needs=("sockets",),
    live=True,
    fast=True,
)
async def test_sockets_open(person: Person, stack: Stack) -> None:
    """Accept the WebSocket before the checks, and let its loop run until the client leaves."""
    for socket in await person.app.sockets():
        async with opened(person, socket, stack) as connection:
            if socket.send:
                await connection.send(socket.send)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.wait_closed(), IDLE_S)
            assert connection.close_code is None, (
                f"{socket.path.partition('?')[0]} was closed with {connection.close_code} within {IDLE_S:g} s, although"
                " its page had not left: the loop that serves it ends early"
            )


@check(
    "I",
    "A WebSocket says what the page waits for",
    broken=Proxy("sockets_silent"),
    because="says nothing",
    needs=("sockets",),
    live=True,
    rests_on=("test_sockets_open",),
)
async def test_sockets_speak(person: Person, stack: Stack) -> None:
    """Send the first state when the WebSocket opens, not only at the next change."""
    expecting = [socket for socket in await person.app.sockets() if socket.expect]
    if not expecting:
        not_declared("the contract expects no message (Socket.expect)")
    for socket in expecting:
        async with opened(person, socket, stack) as connection:
            said = await first_message(connection, socket)
        path = socket.path.partition("?")[0]
        assert said is not None, f"{path} opens and says nothing within {SAID_S:g} s"
        assert re.search(socket.expect, said), f"{path} says {said[:200]!r}, and {socket.expect!r} is expected"


@check(
    "D",
    "A WebSocket opens on a Machine that has never served the person, with the same messages",
    broken=Proxy("sockets_refused"),
    because="was refused",
    needs=("sockets",),
    rests_on=("test_durable",),
)
async def test_sockets_on_another_machine(person: Person, machines: Machines, stack: Stack) -> None:
    """Share events by the bucket or a channel, never by the memory of one Machine."""
    several_machines(person)
    await person.write()
    sockets = await person.app.sockets()
    async with machines.one_more() as two:
        for socket in sockets:
            async with opened(person.on(two), socket, stack) as connection:
                said = await first_message(connection, socket) if socket.expect else ""
            assert said is not None, (
                f"{socket.path.partition('?')[0]} says nothing on another Machine than the person's first"
            )
            assert re.search(socket.expect, said), (
                f"on another Machine it says {said[:200]!r}, {socket.expect!r} is expected"
            )


@check(
    "I",
    "When its Machine stops a WebSocket is closed with 1001, so that the page opens another one",
    broken=Proxy("sockets_closed_at_once"),
    because="ended with 1000",
    needs=("sockets",),
    alone=True,
    deadline_s=150,
)
async def test_sockets_at_a_stop(person: Person, machines: Machines, stack: Stack) -> None:
    """End the loops of WebSockets when the server shuts down."""
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
            f"{path} ended with {connection.close_code} when its Machine stopped, not with {GOING_AWAY} (going away): a"
            " page takes that for an end and opens no new one. End its loop when the server shuts down"
        )
        assert len(signals) == 1, (
            f"with {path} open the Machine did not end at its kill_signal, but needed {', '.join(signals)}"
        )


@check(
    "I",
    "A frame that makes no sense does not crash a WebSocket",
    broken=Proxy("sockets_break_on_nonsense"),
    because="ended with 1011",
    needs=("sockets",),
    rests_on=("test_sockets_open",),
)
async def test_sockets_take_nonsense(person: Person, machines: Machines, stack: Stack) -> None:
    """Catch what reading or parsing a frame raises; ignore the frame, or close with 1003 or 1008."""
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
            # Without a close frame it may have ended in order, only impolitely: then the log has no exception.
            crashed = code == CRASHED or (code == GONE and await tracebacks(machines, machine) > before)
            path = socket.path.partition("?")[0]
            assert not crashed, (
                f"{path} ended with {code} after the frame {frame[:20]!r}: an exception in its handler. Ignore such a"
                " frame, or close with 1003 or 1008"
            )


async def tracebacks(machines: Machines, machine: str) -> int:
    """How many exceptions the Machine's log shows."""
    return sum("Traceback (most recent call last)" in line for line in await machines.logs(machine))


@check(
    "V",
    "Another person's id in the path does not open their WebSockets",
    broken=Proxy("sockets_trust_the_path"),
    because="opens the WebSocket of",
    needs=("sockets",),
    live=True,
    rests_on=("test_sockets_open",),
)
async def test_sockets_of_others(person: Person, people: People, stack: Stack) -> None:
    """Take who it is from the cookie or token, as the routes do, never from the query."""
    other = await people()
    mine = [socket for socket in await person.app.sockets() if person.api.user in socket.path]
    if not mine:
        not_declared("no WebSocket's path names the person")
    if person.api.user in person.api.headers.values():
        not_declared("the app has no authentication: its requests name the person in a header that anyone can write")
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
        told = later or [one for one in said if other.api.user in one]
        assert not told, (
            f"with the id of another person in its path {socket.path.partition('?')[0]} opens the WebSocket of that"
            f" person, and says {told[0][:100]!r}"
        )


async def messages(connection: ClientConnection, quiet_s: float) -> list[str]:
    """What the WebSocket says until it says nothing for so many seconds, or is closed."""
    found: list[str] = []
    with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
        while len(found) < 100:
            found.append(str(await asyncio.wait_for(connection.recv(), quiet_s)))
    return found
