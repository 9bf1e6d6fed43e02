"""What a forged credential is made of."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.parity.checks.test_person import Notes, Server, person_of

from parity.checks.generic.test_forged import asked_by_both, forged, tampered
from parity.checks.person import Person
from parity.checks.verdict import NotJudged


def _of_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        (bytes.hex, bytes.fromhex),
        (lambda raw: base64.b64encode(raw).decode(), base64.b64decode),
        (lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="), _of_base64),
    ],
    ids=["hex", "base64", "urlsafe"],
)
def test_a_forged_signature_is_another_signature_of_the_same_length(
    encode: Callable[[bytes], str], decode: Callable[[str], bytes]
) -> None:
    for _ in range(200):
        signature = encode(hmac.digest(secrets.token_bytes(8), b"user", "sha256"))
        token = f"user.{signature}"
        assert tampered(token).startswith("user.")
        assert len(tampered(token)) == len(token)
        assert decode(tampered(token).partition(".")[2]) != decode(signature)


class WithToken(Notes):
    async def sign_in(self) -> None:
        self.api.headers["Authorization"] = f"Bearer {secrets.token_hex(16)}"
        self.api.headers["Accept-Language"] = "en-GB,en;q=0.9,nl;q=0.8"
        self.api.http.cookies.set("session", secrets.token_hex(16), domain="app.example")
        self._csrf = secrets.token_hex(16)


async def test_what_tells_two_people_apart_is_changed_and_the_person_keeps_theirs() -> None:
    one, other = await person_of(Server(), WithToken), await person_of(Server(), WithToken)
    before = (dict(one.api.headers), dict(one.api.http.cookies), one.app._csrf)  # type: ignore[attr-defined]
    stranger = forged(one, other)
    assert stranger is not None
    assert (dict(one.api.headers), dict(one.api.http.cookies), one.app._csrf) == before  # type: ignore[attr-defined]
    assert stranger.api.headers["Accept-Language"] == one.api.headers["Accept-Language"]
    assert stranger.api.headers["Authorization"] == tampered(one.api.headers["Authorization"])
    assert dict(stranger.api.http.cookies) == {"session": tampered(before[1]["session"])}
    assert stranger.app._csrf == tampered(before[2])  # type: ignore[attr-defined]
    sent: list[httpx.Request] = []
    stranger.api.http.event_hooks["request"].append(lambda request: _keep(sent, request))
    await stranger.read()
    assert sent[0].headers["cookie"] == f"session={tampered(before[1]['session'])}"


async def _keep(sent: list[httpx.Request], request: httpx.Request) -> None:
    sent.append(request)


async def test_an_id_that_any_client_may_send_is_no_credential() -> None:
    one, other = await person_of(Server(), Notes), await person_of(Server(), Notes)
    assert forged(one, other) is None


def stack_of(one: Person, other: Person) -> Any:
    """A stack that notes what both ask."""
    said: list[dict[str, str]] = []

    async def note(request: httpx.Request) -> None:
        said.append({"asked": f"{request.method} {request.url}"})

    for person in (one, other):
        person.api.http.event_hooks["request"].append(note)
    return SimpleNamespace(said=said)


class Guarded(WithToken):
    """An app that refuses credentials which it did not give out, as the contract sees it."""

    async def read(self) -> list[str]:
        await self.api.call("GET", "/notes?of=me")
        return ["a text"]


async def test_a_stranger_who_is_refused_gets_nothing() -> None:
    def server(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.headers["authorization"] == known else 401, json=[])

    one, other = await person_of(server, Guarded), await person_of(server, Guarded)
    known = one.api.headers["Authorization"]
    stranger = forged(one, other)
    assert stranger is not None
    stack = stack_of(one, stranger)
    assert await asked_by_both(Person.read, one, stranger, stack) == (["a text"], None)
    known = stranger.api.headers["Authorization"]
    with pytest.raises(Exception, match="answered 401"):  # the owner must not be refused
        await asked_by_both(Person.read, one, stranger, stack)


async def test_a_contract_that_signs_in_again_by_itself_is_not_judged() -> None:
    async def read(person: Person) -> None:
        if person is not one:
            await person.app.api.call("POST", "/sign-in")

    one, other = await person_of(Server(), WithToken), await person_of(Server(), WithToken)
    stranger = forged(one, other)
    assert stranger is not None
    with pytest.raises(NotJudged, match="signs in again by itself"):
        await asked_by_both(read, one, stranger, stack_of(one, stranger))
