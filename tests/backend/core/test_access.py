"""ACCESS_TOKEN closes the API; who asks may stand in a WebSocket's sub-protocols instead of its URL."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import uvicorn
import websockets
from tests.backend.connect import connect
from tests.backend.fakes import FakeStore
from tests.ports import free_ports

from app.main import OPEN_PATHS, create_app
from app.settings import Settings, SettingsError

TOKEN = "s3cret/token+~"
ALICE = {"X-User-ID": "alice"}
BEARER = {b"Authorization": b"Bearer " + TOKEN.encode()}
ORIGIN = "https://app.example"


@pytest.fixture
async def address(make_settings: Callable[..., Settings]) -> AsyncIterator[str]:
    """A closed API on a socket, with a profile."""
    app = create_app(make_settings(ACCESS_TOKEN=TOKEN), FakeStore())
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=ALICE, timeout=60) as client:
            made = await client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers=BEARER)
            assert made.status_code == 201, made.text
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


def encoded(token: str) -> str:
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def test_a_request_without_the_token_is_refused_so_that_a_browser_can_read_why(address: str) -> None:
    async with httpx.AsyncClient(
        base_url=f"http://{address}", headers={**ALICE, "Origin": ORIGIN}, timeout=60
    ) as client:
        sent = (b"Bearer no", b"Bearer \xa0" + TOKEN.encode(), b"Bearer " + b"a" * 20_000, b"Basic " + TOKEN.encode())
        for wrong in ({}, *({b"Authorization": value} for value in sent)):
            answer = await client.get("/api/profiles", headers=wrong)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json()["type"] == "/problems/unauthorized"
            assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert (await client.get("/api/profiles", params={"token": TOKEN})).status_code == 401
        assert (await client.get("/api/profiles", headers=BEARER)).status_code == 200
        assert (await client.get("/api/health")).status_code == 200


async def test_a_websocket_says_by_sub_protocols_who_asks(address: str) -> None:
    who = ["reel-ballers", "user.alice", "profile.main"]
    url = f"ws://{address}/ws/extractions"
    allowed = [*who, f"token.{encoded(TOKEN)}"]
    async with connect(url, subprotocols=allowed) as connection:
        assert connection.subprotocol == "reel-ballers"
        assert '"extractions": []' in str(await asyncio.wait_for(connection.recv(), 60))
    for wrong in (who, [*who, f"token.{encoded('no')}"], [*who, "token.%"]):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(url, subprotocols=wrong)
        assert refused.value.response.status_code == 401
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"{url}?token={TOKEN}&user_id=alice&profile_id=main")
    assert refused.value.response.status_code == 401


async def test_the_document_says_that_a_user_id_is_no_authentication(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert "`X-User-ID` is not authentication" in document["info"]["description"]
    assert "401" in document["paths"]["/api/projects"]["get"]["responses"]
    assert document["paths"]["/api/projects"]["get"]["security"] == [{"accessToken": []}, {}]
    assert "security" not in document["paths"]["/api/health"]["get"]


async def test_the_document_of_a_closed_app_requires_the_token(make_settings: Callable[..., Settings]) -> None:
    document = create_app(make_settings(ACCESS_TOKEN=TOKEN), FakeStore()).openapi()
    assert document["components"]["securitySchemes"]["accessToken"]["scheme"] == "bearer"
    assert document["paths"]["/api/projects"]["get"]["security"] == [{"accessToken": []}]


@pytest.mark.parametrize("token", ["sésame", "two words", "emoji😀", "a" * 513, "tab\tin"])
def test_a_token_that_a_browser_cannot_send_in_a_header_is_refused_at_start(
    make_settings: Callable[..., Settings], token: str
) -> None:
    with pytest.raises(SettingsError, match="ACCESS_TOKEN: expected 1 to 512 visible ASCII") as refused:
        make_settings(ACCESS_TOKEN=token)
    assert token not in str(refused.value)


async def test_only_what_is_public_on_purpose_is_served_without_the_token(
    make_settings: Callable[..., Settings],
) -> None:
    app = create_app(make_settings(ACCESS_TOKEN=TOKEN), FakeStore())
    paths = [*app.openapi()["paths"], "/docs", "/openapi.json", "/docs/oauth2-redirect", "/redoc", "/metrics", "/ws/x"]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test", headers=ALICE) as client:
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE"):
            for path in paths:
                answer = await client.request(method, path)
                assert (answer.status_code == 401) is (path not in OPEN_PATHS), (method, path)
