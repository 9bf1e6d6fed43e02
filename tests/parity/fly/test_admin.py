"""The admin API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.exceptions import HTTPException
from tests.parity.fly.support import Edge

from parity.fly.admin import AdminParts, admin_app, release_fields
from parity.fly.edge.headers import Origin
from parity.fly.edge.replay import CacheOrder, Replay
from parity.fly.edge.request import Body, Request


@pytest.fixture
async def admin(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    fleet = edge.standin.fleet
    parts = AdminParts(fleet, edge.standin.context, 120, {"api": edge.url})
    transport = httpx.ASGITransport(admin_app(parts, []))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        yield client


@pytest.mark.parametrize("action", ["stop", "suspend", "kill"])
async def test_an_app_that_sleeps_and_would_be_woken_is_healthy(
    edge: Edge, admin: httpx.AsyncClient, action: str
) -> None:
    assert (await admin.get("/fly/healthz")).status_code == 200
    await admin.post(f"/fly/machines/{edge.machine.id}/{action}")
    assert (await admin.get("/fly/healthz")).status_code == 200


async def test_an_app_without_machines_is_not_healthy(edge: Edge, admin: httpx.AsyncClient) -> None:
    await edge.standin.fleet.destroy(edge.machine.id)
    answer = await admin.get("/fly/healthz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


async def test_machines_are_listed_with_state_checks_and_events(edge: Edge, admin: httpx.AsyncClient) -> None:
    (machine,) = (await admin.get("/fly/machines")).json()
    assert (machine["id"], machine["state"], machine["healthy"]) == (edge.machine.id, "started", True)
    assert [event["type"] for event in machine["events"]] == ["starting", "started", "port"]


async def test_one_more_machine_can_be_made_and_destroyed(admin: httpx.AsyncClient) -> None:
    made = await admin.post("/fly/machines")
    assert made.status_code == 201
    assert len((await admin.get("/fly/machines")).json()) == 2
    assert (await admin.post(f"/fly/machines/{made.json()['id']}/destroy")).json()["state"] == "destroyed"
    assert len((await admin.get("/fly/machines")).json()) == 1


async def test_the_replay_cache_is_shown_and_emptied(edge: Edge, admin: httpx.AsyncClient) -> None:
    host = [(b"host", b"tiny.fly.dev")]
    request = Request(b"GET", b"/a/b", host, Body.NONE, Origin(b"192.0.2.1", b"https", 443, b"1.1"))
    edge.standin.context.replay_cache.store(request, Replay("m2", cache=CacheOrder("/a", 60)), "m1")
    (entry,) = (await admin.get("/fly/replay-cache")).json()
    assert (entry["key"], entry["instance"], entry["source"]) == (["path", "tiny.fly.dev", "/a"], "m2", "m1")
    assert (await admin.delete("/fly/replay-cache")).status_code == 204
    assert (await admin.get("/fly/replay-cache")).json() == []


@pytest.mark.parametrize(
    ("actions", "state"),
    [
        (["stop"], "stopped"),
        (["stop", "start"], "started"),
        (["suspend"], "suspended"),
        (["suspend", "resume"], "started"),
        (["kill"], "stopped"),
        (["suspend", "stop"], "stopped"),
    ],
)
async def test_actions_lead_to_their_state(
    edge: Edge, admin: httpx.AsyncClient, actions: list[str], state: str
) -> None:
    for action in actions:
        answer = await admin.post(f"/fly/machines/{edge.machine.id}/{action}")
        assert answer.status_code == 200
    assert answer.json()["state"] == edge.machine.state == state


async def test_an_action_that_is_not_possible_is_409_and_changes_nothing(edge: Edge, admin: httpx.AsyncClient) -> None:
    await edge.machine.stop()
    answer = await admin.post(f"/fly/machines/{edge.machine.id}/suspend")
    assert answer.status_code == 409
    assert "it cannot become suspending" in answer.json()["detail"]
    assert edge.machine.state == "stopped"


async def test_an_unknown_machine_and_an_unknown_action_are_404_and_say_what_there_is(
    edge: Edge, admin: httpx.AsyncClient
) -> None:
    assert edge.machine.id in (await admin.get("/fly/machines/nobody/logs")).json()["detail"]
    answer = await admin.post(f"/fly/machines/{edge.machine.id}/explode")
    assert (answer.status_code, "suspend" in answer.json()["detail"]) == (404, True)


async def test_requests_show_what_the_app_was_sent_and_the_client_got(edge: Edge, admin: httpx.AsyncClient) -> None:
    async with edge.client(http2=True) as client:
        await client.get("/nowhere?x=1")
    (seen,) = (await admin.get("/fly/requests")).json()
    assert (seen["protocol"], seen["method"], seen["target"], seen["status"]) == ("2", "GET", "/nowhere?x=1", 404)
    assert seen["machine"] == edge.machine.id
    assert "fly-client-ip" in dict(seen["request_headers"])
    assert "fly-request-id" in dict(seen["response_headers"])
    assert 0 <= seen["assigned_ms"] <= seen["head_ms"] <= seen["end_ms"]
    assert (await admin.delete("/fly/requests")).status_code == 204
    assert (await admin.get("/fly/requests")).json() == []


async def test_a_release_by_the_api_replaces_the_machines(edge: Edge, admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/fly/releases", json={"env": {"COLOUR": "blue"}})
    assert (answer.status_code, answer.json()["status"]) == (201, "complete")
    assert (await edge.get("/show"))["env"]["COLOUR"] == "blue"
    assert (await admin.get("/fly/release")).json()["number"] == 2


async def test_an_unhealthy_release_is_504_with_the_reason(admin: httpx.AsyncClient, edge: Edge) -> None:
    empty = edge.state_dir.parent / "empty"
    empty.mkdir()
    # It is started eleven times before it is given up.
    answer = await admin.post("/fly/releases", json={"source": str(empty), "wait": 300})
    assert answer.status_code == 504
    assert "does not stay up" in answer.json()["detail"]


async def test_logs_are_what_the_machine_printed(edge: Edge, admin: httpx.AsyncClient) -> None:
    async with edge.client() as client:
        await client.get("/boom")
    lines = (await admin.get(f"/fly/machines/{edge.machine.id}/logs?tail=100")).json()["lines"]
    assert any("RuntimeError: boom" in line for line in lines)
    assert (await admin.get(f"/fly/machines/{edge.machine.id}/logs?tail=x")).status_code == 400


async def test_the_index_links_the_addresses_and_machines(edge: Edge, admin: httpx.AsyncClient) -> None:
    page = (await admin.get("/")).text
    assert edge.url in page
    assert edge.machine.id in page


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"image": 1}, "image"),
        ({"source": 1}, "source"),
        ({"image": "a", "source": "b"}, "only one"),
        ({"env": []}, "env"),
        ({"env": {"A": 1}}, "env"),
        ({"wait": "soon"}, "wait"),
        ({"wait": -1}, "wait"),
    ],
)
def test_a_wrong_field_of_a_release_is_named(body: dict[str, object], named: str) -> None:
    with pytest.raises(HTTPException, match=named):
        release_fields(body)
