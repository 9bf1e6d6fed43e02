"""``fly-replay``, read and followed."""

from __future__ import annotations

import pytest
from tests.parity.fly.support import Edge, StartEdge, until

from parity.fly.edge.headers import Headers
from parity.fly.edge.replay import Budget, Replay, ReplayError, parse_replay, replay_source


def parse(value: bytes) -> Replay | None:
    headers: Headers = [(b"Fly-Replay", value)]
    return parse_replay(headers, app="tiny", region="lax", from_machine="m1")


def test_a_response_without_the_header_asks_for_nothing() -> None:
    assert parse_replay([(b"content-type", b"text/plain")], app="tiny", region="lax", from_machine="m1") is None


def test_instance_and_state_are_read() -> None:
    assert parse(b"instance=m2; state=abc") == Replay(instance="m2", state="abc")


def test_elsewhere_excludes_the_machine_that_answered() -> None:
    assert parse(b"elsewhere=true") == Replay(excluded="m1")


@pytest.mark.parametrize("value", [b"app=other", b"region=ams", b"cache_key=x", b"nonsense"])
def test_what_is_not_served_is_refused_not_ignored(value: bytes) -> None:
    with pytest.raises(ReplayError):
        parse(value)


def test_the_json_form_is_refused() -> None:
    with pytest.raises(ReplayError, match="not implemented"):
        parse_replay([(b"content-type", b"application/vnd.fly.replay+json")], app="a", region="r", from_machine="m")


def test_the_source_names_machine_region_time_and_state() -> None:
    assert replay_source("m1", "lax", 5, "s") == b"instance=m1;region=lax;t=5;state=s"


def test_a_budget_refuses_what_does_not_fit_and_takes_it_once_there_is_room() -> None:
    budget = Budget(10)
    assert budget.take(8)
    assert not budget.take(3)
    budget.give(8)
    assert budget.take(10)


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
