"""Identity: a credential that the app never gave out, such as a token with another signature, is worth nothing."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import websockets
from websockets.asyncio.client import ClientConnection

from parity.checks import Proxy, check, not_judged
from parity.checks.generic.support import not_declared
from parity.checks.generic.test_identity import LONG, NOT_AS_THE_OWNER, credentials
from parity.checks.generic.test_sockets import NotOpened, messages, opened
from parity.checks.person import People, Person
from parity.checks.stack import Stack

T = TypeVar("T")
# Seconds without a message after which a WebSocket has said what it says when it opens.
QUIET_S = 1.0
# Within how many seconds after a write a WebSocket would tell of it.
TOLD_S = 5.0


@check(
    "V",
    "A forged credential, such as a token with another signature, gives nobody a person's data",
    broken=Proxy("first_answer_kept", for_all=True),
    because="forged credential .* gets the person's texts",
    rests_on=("test_people_apart",),
    deadline_s=90,
)
async def test_forged_credential(people: People, stack: Stack) -> None:
    """Verify the signature of every token and cookie, or look the whole credential up, before you use a part of it."""
    one, stranger = await with_forgery(people)
    text = await one.write()
    own, shown = await asked_by_both(Person.read, one, stranger, stack)
    if text not in own:
        not_judged("the owner does not see the text: see test_writes_last")
    assert text not in (shown or ()), (
        "a request with a forged credential (its last characters changed) gets the person's texts. Anyone who knows a"
        " person's id can make one: verify the signature before you use what the token says"
    )


@check(
    "V",
    "A WebSocket that is opened with a forged credential says nothing of the person",
    broken=Proxy("sockets_tell_writes"),
    because="opens with a forged credential",
    needs=("sockets",),
    rests_on=("test_sockets_open",),
    deadline_s=90,
)
async def test_forged_credential_on_sockets(people: People, stack: Stack) -> None:
    """Verify the token or cookie that a WebSocket brings, as the other routes do, before you accept it."""
    one, stranger = await with_forgery(people)
    if one.api.user in one.api.headers.values():
        not_declared("the app has no authentication: its requests name the person in a header that any client can set")
    _, sockets = await asked_by_both(lambda person: person.app.sockets(), one, stranger, stack)
    for socket in sockets or ():
        try:
            async with opened(stranger, socket, stack) as connection:
                if socket.send:
                    await connection.send(socket.send)
                told = [one_said for one_said in await messages(connection, QUIET_S) if one.api.user in one_said]
                text = await one.write()
                told += await first_of(connection, "|".join(filter(None, (text, one.api.user, socket.expect))))
        except NotOpened:
            continue
        assert not told, (
            f"{socket.path.partition('?')[0]} opens with a forged credential (its last characters changed), and sends"
            f" {told[0][:100]!r}. Verify the signature of the token that a WebSocket brings, as the other routes do"
        )


async def first_of(connection: ClientConnection, pattern: str) -> list[str]:
    """The first message that matches, in a list; empty where none comes within ``TOLD_S`` seconds."""
    with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
        async with asyncio.timeout(TOLD_S):
            while True:
                if re.search(pattern, message := str(await connection.recv())):
                    return [message]
    return []


async def with_forgery(people: People) -> tuple[Person, Person]:
    """A person, and the same person with a forged credential. Raises ``NotDeclared`` where there is no credential."""
    one, other = await people(), await people()
    await other.write()  # the other person then has what a first write may bring, such as a CSRF token
    await one.write()
    stranger = forged(one, other)
    if stranger is None:
        not_declared(
            "neither a header, a cookie nor an attribute of the contract holds a credential, a text of at least"
            f" {LONG} characters that differs from person to person"
        )
    return one, stranger


async def asked_by_both(
    ask: Callable[[Person], Awaitable[T]], one: Person, stranger: Person, stack: Stack
) -> tuple[T, T | None]:
    """What the owner gets and what the stranger gets; None where the stranger is refused.

    Ends the check as "not judged" where the stranger's requests are not those of the owner: the contract then signs in
    again, with a password that is no forgery.
    """
    began = len(paths_of(stack))
    own = await ask(one)
    of_the_owner = paths_of(stack)[began:]
    began = len(paths_of(stack))
    try:
        shown = await ask(stranger)
    except NOT_AS_THE_OWNER:
        shown = None
    if {*paths_of(stack)[began:]} - {*of_the_owner}:
        not_judged("with a credential that is not accepted, the contract signs in again by itself")
    return own, shown


def paths_of(stack: Stack) -> list[str]:
    """Method and URL without query of each request so far."""
    return [entry["asked"].partition("?")[0] for entry in stack.said]


def forged(one: Person, other: Person) -> Person | None:
    """The person with every credential changed at its end, in a browser of its own; None where there is none."""
    app = copy.copy(one.app)
    own = credentials(one.app, other.app, one.owns)
    for name, value in vars(app).items():
        if isinstance(value, str) and value in own:
            setattr(app, name, tampered(value))
    headers = {name: tampered(value) for name, value in differing(one.api.headers, other.api.headers).items()}
    http = one.new_client()
    cookies = {cookie.name: cookie.value or "" for cookie in one.api.http.cookies.jar}
    changed = differing(cookies, {cookie.name: cookie.value or "" for cookie in other.api.http.cookies.jar})
    for cookie in one.api.http.cookies.jar:
        fake = copy.copy(cookie)
        fake.value = tampered(cookie.value or "") if cookie.name in changed else cookie.value
        http.cookies.jar.set_cookie(fake)
    if not (own or headers or changed):
        return None
    app.api = replace(one.api, http=http, headers={**one.api.headers, **headers})
    return replace(one, app=app)


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """The values that are long enough for a credential and differ between two people."""
    return {name: value for name, value in one.items() if len(value) >= LONG and other.get(name) not in (None, value)}


def tampered(credential: str) -> str:
    """The credential with eight of its last ten characters changed, each to one of its own kind.

    The very last two stay: in base64 they may hold no bit of the signature, or be its padding.
    """
    return credential[:-10] + "".join(map(_another, credential[-10:-2])) + credential[-2:]


def _another(character: str) -> str:
    for kind in ("ab", "AB", "01"):
        if (
            kind[0].isalpha() == character.isalpha()
            and kind[0].isupper() == character.isupper()
            and character.isalnum()
        ):
            return kind[character == kind[0]]
    return character
