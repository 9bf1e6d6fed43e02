"""One person's requests, sent as another person: what in a request says who asks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.parity.checks.test_person import person_of

from parity.checks.generic.test_identity import Hand, credentials, exchanged
from parity.contract import Api, InBucket


class Rpc:
    """An app with one path, where the token is a part of each call (JSON-RPC), and of the query too."""

    keeps = InBucket("notes/")

    def __init__(self, api: Api) -> None:
        self.api = api
        self._token = ""

    async def _call(self, method: str, **values: str) -> Any:
        return await self.api.call("POST", f"/rpc?k={self._token}", {"method": method, "token": self._token, **values})

    async def sign_in(self) -> None:
        self._token = (await self._call("join", name=self.api.user))["token"]

    async def write(self, text: str) -> None:
        await self._call("add", text=text)

    async def read(self) -> list[str]:
        return list(await self._call("list"))

    async def delete(self, text: str) -> None:
        assert text in await self.read()
        await self._call("remove", text=text)


class Board:
    """Its server. ``careless``: it removes a text for every person who asks."""

    def __init__(self, careless: bool) -> None:
        self.careless = careless
        self.texts: list[tuple[str, str]] = []
        self.removed_by: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = json.loads(request.content)
        token = call["token"]
        assert token == request.url.params["k"]
        if call["method"] == "join":
            return httpx.Response(200, json={"token": f"token of {call['name']}"})
        if call["method"] == "add":
            self.texts.append((token, call["text"]))
        if call["method"] == "remove":
            self.removed_by.append(token)
            found = next(one for one in self.texts if one[1] == call["text"])
            if found[0] != token and not self.careless:
                return httpx.Response(404, json={})
            self.texts.remove(found)
        return httpx.Response(200, json=[text for owner, text in self.texts if owner == token])


@pytest.mark.parametrize("careless", [False, True])
async def test_a_token_in_the_body_is_that_of_the_person_who_asks(careless: bool) -> None:
    board = Board(careless)
    one, other = await person_of(board, Rpc), await person_of(board, Rpc)
    text, practised = await one.write(), await one.write()
    hand = Hand(one, other)
    last = await hand.counted(hand.app.delete(practised))
    await hand.of_the_other(hand.app.delete(text), last)
    assert board.removed_by == [f"token of {one.api.user}", f"token of {other.api.user}"]
    assert (text in await one.read()) is not careless


async def test_another_person_reads_with_their_own_token() -> None:
    board = Board(careless=False)
    one, other = await person_of(board, Rpc), await person_of(board, Rpc)
    text = await one.write()
    hand = Hand(one, other)
    assert await hand.reads_as_the_other(hand.app.read()) == []
    assert await hand.app.read() == [text]


async def test_only_what_is_too_long_to_guess_and_no_id_of_the_person_is_exchanged() -> None:
    one, other = await person_of(Board(careless=False), Rpc), await person_of(Board(careless=False), Rpc)
    for name, mine, theirs in (("_id", "a" * 32, "b" * 32), ("_row", "17", "18"), ("_csrf", "c" * 32, "d" * 32)):
        setattr(one.app, name, mine)
        setattr(other.app, name, theirs)
    texts = credentials(one.app, other.app, f"notes/{'a' * 32}/")
    assert {*texts} == {one.app._token, "c" * 32}  # type: ignore[attr-defined]
    given = {"data": {"csrf": "c" * 32, "rows": ["17", f"x={'c' * 32}"]}, "content": b"c" * 32}
    assert exchanged(given, texts) == {
        "data": {"csrf": "d" * 32, "rows": ["17", f"x={'d' * 32}"]},
        "content": b"c" * 32,
    }
