"""``fly-replay``: both forms read, and followed from Machine to Machine."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence

import pytest
from tests.parity.fly.support import Edge, StartEdge, until
from websockets.asyncio.client import connect

from parity.fly.edge.headers import Headers
from parity.fly.edge.replay import CacheOrder, Replay, ReplayError, Transform, read_header, read_json, replay_source


def parse(value: bytes, **more: bytes) -> Replay | None:
    headers: Headers = [(b"Fly-Replay", value)]
    headers += [(name.replace("_", "-").encode(), text) for name, text in more.items()]
    return read_header(headers, app="tiny")


def test_a_response_without_the_header_asks_for_nothing() -> None:
    assert read_header([(b"content-type", b"text/plain")], app="tiny") is None


def test_every_field_of_the_header_is_read() -> None:
    value = b'instance=m2; prefer_instance=m3;region="sjc,any";app=tiny;state=abc;elsewhere=true;timeout=800ms'
    assert parse(value + b";fallback=prefer_self") == Replay(
        instance="m2",
        prefer_instance="m3",
        regions="sjc,any",
        state="abc",
        elsewhere=True,
        timeout_s=0.8,
        fallback="prefer_self",
    )


def test_the_path_cache_headers_are_read() -> None:
    found = parse(b"instance=m2", fly_replay_cache=b"/a/*", fly_replay_cache_ttl_secs=b"20")
    assert found == Replay(instance="m2", cache=CacheOrder("/a/*", 20))
    allowed = parse(
        b"instance=m2",
        fly_replay_cache=b"/a/*",
        fly_replay_cache_ttl_secs=b"20",
        fly_replay_cache_allow_bypass=b"yes",
    )
    assert allowed == Replay(instance="m2", cache=CacheOrder("/a/*", 20, allow_bypass=True))
    assert parse(b"instance=m2", fly_replay_cache=b"invalidate") == Replay(instance="m2", invalidate=True)


@pytest.mark.parametrize("value", [b"app=other", b"cache_key=x", b"nonsense", b"timeout=soon", b"fallback=self"])
def test_what_is_not_served_is_refused_not_ignored(value: bytes) -> None:
    with pytest.raises(ReplayError):
        parse(value)


def test_a_path_cache_without_a_ttl_is_refused() -> None:
    with pytest.raises(ReplayError, match="ttl"):
        parse(b"instance=m2", fly_replay_cache=b"/a/*")


def test_every_field_of_the_json_form_is_read() -> None:
    body = {
        "prefer_instance": "m2",
        "region": "us",
        "elsewhere": True,
        "timeout": "2s",
        "fallback": "force_self",
        "transform": {
            "path": "/new?a=b",
            "delete_headers": ["Cookie"],
            "set_headers": [{"name": "x-a", "value": "1"}],
        },
        "cache": {"prefix": "/p/*", "ttl": 60, "allow_bypass": True},
    }
    assert read_json(json.dumps(body).encode(), app="tiny") == Replay(
        prefer_instance="m2",
        regions="us",
        elsewhere=True,
        timeout_s=2,
        fallback="force_self",
        transform=Transform("/new?a=b", ("Cookie",), (("x-a", "1"),)),
        cache=CacheOrder("/p/*", 60, allow_bypass=True),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"instance": 5}',
        b'{"surprise": "x"}',
        b'{"transform": {"path": "no-slash"}}',
        b'{"transform": {"set_headers": [{"name": "x", "value": "a\\r\\nb: c"}]}}',
        b'{"transform": {"set_headers": [{"name": "bad name", "value": "a"}]}}',
        b'{"transform": {"delete_headers": ["Content-Length"]}}',
        b'{"transform": {"method": "GET"}}',
        b'{"cache": {"prefix": "/a"}}',
    ],
)
def test_a_json_body_that_is_no_replay_is_refused(body: bytes) -> None:
    with pytest.raises(ReplayError):
        read_json(body, app="tiny")


def test_the_source_names_machine_region_time_and_state() -> None:
    assert replay_source("m1", "lax", 5, "s") == b"instance=m1;region=lax;t=5;state=s"


async def two(start_edge: StartEdge) -> tuple[Edge, str, str]:
    edge = await start_edge()
    first = edge.machine
    second = await edge.standin.fleet.create()
    await until(lambda: second.healthy, "both healthy")
    return edge, first.id, second.id


async def test_a_request_with_its_body_is_handed_to_the_machine_that_was_named(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    async with edge.client() as client:
        headers = {"fly-force-instance-id": first}
        answer = (await client.post(f"/replay?{second}", content=b"x" * 200_000, headers=headers)).json()
    assert (answer["machine"], answer["size"]) == (second, 200_000)
    source = dict(answer["headers"])["fly-replay-src"]
    assert source.startswith(f"instance={first};region=lax;t=")
    assert source.endswith(";state=s1")
    assert edge.standin.context.log.entries()[-1].machines == [first, second]


async def test_a_replay_wakes_a_stopped_machine(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    await edge.standin.fleet.get(second).stop()
    async with edge.client() as client:
        answer = (await client.get(f"/replay?{second}", headers={"fly-force-instance-id": first})).json()
    assert answer["machine"] == second


async def test_a_replay_to_no_machine_is_502(start_edge: StartEdge) -> None:
    edge = await start_edge()
    async with edge.client() as client:
        assert (await client.get("/replay?nobody")).status_code == 502


async def test_an_endless_replay_ends_after_ten_hops(edge: Edge) -> None:
    async with edge.client() as client:
        assert (await client.get("/loop")).status_code == 502
    assert len(edge.standin.context.log.entries()[-1].machines) == 11


async def test_prefer_instance_is_taken_where_it_can(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    async with edge.client() as client:
        for wanted in (first, second, first):
            answer = (await client.get("/show", headers={"fly-prefer-instance-id": wanted})).json()
            assert answer["machine"] == wanted
        assert (await client.get("/show", headers={"fly-prefer-instance-id": "nobody"})).status_code == 200


def orders(**machines: Sequence[object]) -> dict[str, str]:
    return {"x-hand": json.dumps(machines)}


async def test_the_json_form_changes_the_request_for_its_target(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    change = {
        "instance": second,
        "transform": {
            "path": "/show?b=2",
            "delete_headers": ["x-secret"],
            "set_headers": [{"name": "x-new", "value": "n"}],
        },
    }
    order = [{"content-type": "application/vnd.fly.replay+json"}, json.dumps(change)]
    headers = {**orders(**{first: order}), "fly-force-instance-id": first, "x-secret": "s"}
    async with edge.client() as client:
        answer = (await client.post("/hand?a=1", content=b"12345", headers=headers)).json()
    seen = dict(answer["headers"])
    assert (answer["machine"], answer["path"], answer["query"], answer["size"]) == (second, "/show", "b=2", 5)
    assert seen["x-new"] == "n"
    assert "x-secret" not in seen
    assert seen["fly-replay-src"].startswith(f"instance={first};")


@pytest.mark.parametrize("size", [1_000_001, 3_000_000])
async def test_a_request_larger_than_a_megabyte_is_not_replayed(start_edge: StartEdge, size: int) -> None:
    edge, first, second = await two(start_edge)
    async with edge.client() as client:
        answer = await client.post(f"/replay?{second}", content=bytes(size), headers={"fly-force-instance-id": first})
    assert answer.status_code == 502
    assert "larger than 1000000 bytes" in edge.standin.context.log.entries()[-1].outcome


async def test_a_preferred_machine_that_is_missing_is_replaced_and_named(start_edge: StartEdge) -> None:
    edge, first, _ = await two(start_edge)
    order = [{"fly-replay": "prefer_instance=gone;elsewhere=true"}, ""]
    async with edge.client() as client:
        headers = {**orders(**{first: order}), "fly-force-instance-id": first}
        answer = (await client.get("/hand", headers=headers)).json()
    seen = dict(answer["headers"])
    assert answer["machine"] != first
    assert seen["fly-preferred-instance-unavailable"] == "gone"
    assert seen["fly-replay-cache-status"] == "miss"


async def test_a_preferred_machine_at_its_hard_limit_is_replaced_and_named(start_edge: StartEdge) -> None:
    edge = await start_edge(soft=1, hard=1)
    first = edge.machine.id
    second = (await edge.standin.fleet.create()).id
    await until(lambda: edge.standin.fleet.get(second).healthy, "both healthy")
    edge.standin.fleet.get(second).requests += 1
    async with edge.client() as client:
        answer = (await client.get("/show", headers={"fly-prefer-instance-id": second})).json()
    edge.standin.fleet.get(second).requests -= 1
    assert answer["machine"] == first
    assert dict(answer["headers"])["fly-preferred-instance-unavailable"] == second


@pytest.mark.parametrize("wakes", [True, False])
async def test_whether_a_preferred_machine_is_woken_is_a_setting(start_edge: StartEdge, wakes: bool) -> None:
    edge = await start_edge(prefer_wakes=wakes)
    first = edge.machine.id
    second = (await edge.standin.fleet.create()).id
    await until(lambda: edge.standin.fleet.get(second).healthy, "both healthy")
    await edge.standin.fleet.get(second).stop()
    async with edge.client() as client:
        answer = (await client.get("/show", headers={"fly-prefer-instance-id": second})).json()
    assert answer["machine"] == (second if wakes else first)
    assert ("fly-preferred-instance-unavailable" in dict(answer["headers"])) is not wakes


async def test_a_preferred_machine_that_cannot_start_is_replaced_and_named(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    machine = edge.standin.fleet.get(second)
    await machine.stop()
    machine.spec.environment["PYTHONHOME"] = "/nowhere"
    async with edge.client() as client:
        answer = (await client.get("/show", headers={"fly-prefer-instance-id": second})).json()
    assert answer["machine"] == first
    assert dict(answer["headers"])["fly-preferred-instance-unavailable"] == second


async def test_a_region_of_which_the_app_has_none_is_502_and_any_is_served(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    async with edge.client() as client:
        for region, status in (("ams", 502), ('"ams,any"', 200), ("us", 200), ("eu", 502), ("lax", 200)):
            order = [{"fly-replay": f"region={region};elsewhere=true"}, ""]
            headers = {**orders(**{first: order}), "fly-force-instance-id": first}
            answer = await client.get("/hand", headers=headers)
            assert answer.status_code == status, region
            if status == 200:
                assert answer.json()["machine"] == second
        assert (await client.get("/show", headers={"fly-force-region": "ams"})).status_code == 502
        assert (await client.get("/show", headers={"fly-prefer-region": "ams"})).status_code == 200


@pytest.mark.parametrize("fallback", ["force_self", "prefer_self"])
async def test_a_replay_without_a_candidate_comes_back_by_its_fallback(start_edge: StartEdge, fallback: str) -> None:
    edge, first, _ = await two(start_edge)
    order = [{"fly-replay": f"instance=gone;fallback={fallback}"}, ""]
    async with edge.client() as client:
        headers = {**orders(**{first: order}), "fly-force-instance-id": first}
        answer = (await client.post("/hand", content=b"abc", headers=headers)).json()
    seen = dict(answer["headers"])
    assert (answer["machine"], answer["size"]) == (first, 3)
    assert seen["fly-replay-failed"].startswith(
        f"instance=gone;app=tiny;region=lax;replay_source={first};reason=no_candidate;elapsed_ms="
    )
    assert "fly-replay-src" not in seen


async def test_a_replay_that_takes_too_long_comes_back_with_its_reason(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    await edge.standin.fleet.get(second).stop()
    edge.standin.fleet.get(second).spec.environment["ECHO_BOOT_S"] = "60"
    order = [{"fly-replay": f"instance={second};timeout=200ms;fallback=force_self"}, ""]
    async with edge.client() as client:
        headers = {**orders(**{first: order}), "fly-force-instance-id": first}
        answer = (await client.get("/hand", headers=headers)).json()
    assert answer["machine"] == first
    failed = dict(part.split("=") for part in dict(answer["headers"])["fly-replay-failed"].split(";"))
    assert (failed["instance"], failed["reason"]) == (second, "timeout")
    assert int(failed["elapsed_ms"]) >= 200


async def test_a_timeout_without_a_fallback_is_502(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    await edge.standin.fleet.get(second).stop()
    edge.standin.fleet.get(second).spec.environment["ECHO_BOOT_S"] = "60"
    order = [{"fly-replay": f"instance={second};timeout=200ms"}, ""]
    async with edge.client() as client:
        headers = {**orders(**{first: order}), "fly-force-instance-id": first}
        assert (await client.get("/hand", headers=headers)).status_code == 502


async def test_a_request_that_came_back_is_not_replayed_again(start_edge: StartEdge) -> None:
    edge, first, _ = await two(start_edge)
    order = [{"fly-replay": "instance=gone;fallback=force_self"}, "", "again"]
    async with edge.client() as client:
        headers = {**orders(**{first: order}), "fly-force-instance-id": first}
        assert (await client.get("/hand", headers=headers)).status_code == 502
    assert "cannot be replayed again" in edge.standin.context.log.entries()[-1].outcome


async def test_a_websocket_upgrade_is_replayed_to_the_machine_that_takes_it(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    order = [{"fly-replay": f"instance={second}"}, ""]
    headers = {**orders(**{first: order}), "fly-force-instance-id": first}
    url = edge.url.replace("https", "wss") + "/ws"
    context: ssl.SSLContext = edge.tls()
    async with connect(url, ssl=context, additional_headers=headers, proxy=None, open_timeout=60) as socket:
        await socket.send("who")
        assert await socket.recv() == second
    await until(lambda: edge.standin.fleet.get(second).load == 0, "the place is given back")
    assert edge.standin.fleet.get(first).load == 0


async def test_a_client_cannot_say_how_its_request_was_routed(edge: Edge) -> None:
    forged = {
        "fly-replay-src": "instance=x",
        "fly-replay-failed": "instance=x",
        "fly-replay-cache-status": "hit",
        "fly-preferred-instance-unavailable": "x",
    }
    async with edge.client() as client:
        answer = (await client.get("/show", headers=forged)).json()
    assert not set(forged) & set(dict(answer["headers"]))
