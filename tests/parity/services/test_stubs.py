"""Stubs: what is declared is answered, everything else is not implemented, and each call is kept."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from parity.config.parity_toml import Stub
from parity.services.stubs import LOOK_S, StubMode, Stubs, find

PAY = Stub.model_validate(
    {
        "answers": {
            "POST /v1/charges": {"status": 201, "json": {"id": "ch_1"}},
            "GET /v1/*": {"text": "any"},
            "GET /v1/charges/*": {"text": "a charge", "headers": {"x-of": "stub"}},
        }
    }
)


@pytest.fixture
def stubs() -> Stubs:
    return Stubs({"pay.example": PAY})


@pytest.fixture
def client(stubs: Stubs) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(stubs.app()), base_url="http://stubs")


async def test_a_declared_answer_is_given_and_the_call_is_kept(client: httpx.AsyncClient, stubs: Stubs) -> None:
    answer = await client.post("/pay.example/v1/charges", content=b"amount=3")
    assert (answer.status_code, answer.json()) == (201, {"id": "ch_1"})
    kept = {"stub": "pay.example", "method": "POST", "path": "/v1/charges", "body": "amount=3", "status": 201}
    assert list(stubs.calls) == [kept]


async def test_the_longest_beginning_wins(client: httpx.AsyncClient) -> None:
    answer = await client.get("/pay.example/v1/charges/7")
    assert (answer.text, answer.headers["x-of"]) == ("a charge", "stub")
    assert find(PAY, "GET", "/v2") is None


async def test_what_is_not_declared_says_not_implemented(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/pay.example/v1/charges")
    assert answer.status_code == 501
    assert "not implemented" in answer.json()["error"]


async def test_a_stub_that_is_away_answers_503(client: httpx.AsyncClient, stubs: Stubs) -> None:
    stubs.modes["pay.example"] = StubMode.AWAY
    assert (await client.post("/pay.example/v1/charges")).status_code == 503


async def test_a_silent_stub_takes_the_request_and_answers_only_when_it_is_back(
    client: httpx.AsyncClient, stubs: Stubs
) -> None:
    stubs.modes["pay.example"] = StubMode.SILENT
    waiting = asyncio.create_task(client.post("/pay.example/v1/charges"))
    while not stubs.calls:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not (await asyncio.wait([waiting], timeout=4 * LOOK_S))[0]
    stubs.modes.clear()
    assert (await waiting).status_code == 503
    assert (await client.post("/pay.example/v1/charges")).status_code == 201


async def test_a_host_without_a_stub_is_named_with_the_known_ones(client: httpx.AsyncClient) -> None:
    answer = await client.get("/mail.example/x")
    assert (answer.status_code, "known: pay.example" in answer.json()["error"]) == (404, True)
