"""Identity: a credential that the app never gave out, such as a token with another signature, is worth nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from parity.checks import Proxy, check, not_judged
from parity.checks.generic.support import not_declared
from parity.checks.generic.test_identity import LONG, NOT_AS_THE_OWNER, credentials
from parity.checks.generic.test_sockets import NotOpened, messages, opened
from parity.checks.person import People, Person
from parity.checks.stack import Stack

# For how long a WebSocket that was opened with a forged credential may stay silent.
QUIET_S = 1.0


@check(
    "V",
    "A forged credential, such as a token with another signature, gives nobody a person's data",
    broken=Proxy("first_answer_kept", for_all=True),
    because="forged",
    rests_on=("test_people_apart",),
    deadline_s=90,
)
async def test_forged_credential(people: People, stack: Stack) -> None:
    """Verify the signature of every token and cookie, or look the whole credential up, before you use a part of it."""
    one, other = await people(), await people()
    text = await one.write()
    asked = paths_of(stack)
    if text not in await one.read():
        not_judged("the owner does not see the text: see test_writes_last")
    of_the_owner = paths_of(stack)[len(asked) :]
    stranger = forged(one, other)
    if stranger is None:
        not_declared(
            "neither a header, a cookie nor an attribute of the contract holds a credential, a text of at least"
            f" {LONG} characters that differs from person to person"
        )
    asked = paths_of(stack)
    try:
        shown = await stranger.read()
    except NOT_AS_THE_OWNER:
        shown = ()
    if {*paths_of(stack)[len(asked) :]} - {*of_the_owner}:
        not_judged("with a credential that is not accepted, the contract signs in again by itself")
    assert text not in shown, (
        "a request with a forged credential (its last characters changed) gets the person's texts. Anyone who knows a"
        " person's id can make one: verify the signature before you use what the token says"
    )
    if one.can("sockets"):
        await no_socket(one, stranger, stack)


async def no_socket(one: Person, stranger: Person, stack: Stack) -> None:
    """Assert that no WebSocket that is opened with the forged credential says anything of the person.

    One whose path holds the person's id is the subject of ``test_sockets_of_others``.
    """
    for socket in await stranger.app.sockets():
        if one.api.user in socket.path:
            continue
        try:
            async with opened(stranger, socket, stack) as connection:
                if socket.send:
                    await connection.send(socket.send)
                said = await messages(connection, QUIET_S)
                text = await one.write()
                said += await messages(connection, QUIET_S)
        except NotOpened:
            continue
        told = [one_said for one_said in said if text in one_said or one.api.user in one_said]
        assert not told, (
            f"{socket.path.partition('?')[0]} opens with a forged credential (its last characters changed), and sends"
            f" {told[0][:100]!r}. Verify the signature of the token that a WebSocket brings, as the other routes do"
        )


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
