"""Hold, queue, wake, refuse: the gate with real Machines."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import httpx
import pytest
from tests.parity.fly.support import QUICK, Edge, StartEdge, until
from websockets.asyncio.client import connect

from parity.fly.machines.driver import DriverError
from parity.fly.machines.port import Port
from parity.fly.machines.state import State


async def status_of(edge: Edge, path: str = "/nowhere") -> int:
    async with edge.client() as client:
        return (await client.get(path)).status_code


async def test_a_request_is_held_while_its_machine_starts(edge: Edge) -> None:
    await edge.machine.stop()
    assert await status_of(edge) == 404
    assert edge.machine.state is State.STARTED


async def test_a_body_sent_to_a_sleeping_app_arrives_whole(edge: Edge) -> None:
    await edge.machine.stop()
    async with edge.client() as client:
        assert (await client.post("/show", content=bytes(5_000_000))).json()["size"] == 5_000_000


async def test_many_requests_to_a_sleeping_app_start_one_machine_once(edge: Edge) -> None:
    await edge.machine.stop()
    async with edge.client(http2=True) as client:
        answers = await asyncio.gather(*(client.get("/show") for _ in range(20)))
    assert len({answer.json()["pid"] for answer in answers}) == 1
    assert len([event for event in edge.machine.life.events if event.type == "started"]) == 2


async def test_a_machine_that_never_listens_is_502_after_the_tries(start_edge: StartEdge) -> None:
    silent = [sys.executable, "-c", "import signal; signal.pause()  # {port}"]
    edge = await start_edge(command=silent, wait=False, start_tries=3, start_window_s=0.3)
    async with edge.client() as client:
        answer = await client.get("/")
    assert answer.status_code == 502
    assert answer.headers["server"].startswith("Fly/")
    assert edge.machine.state is State.STARTED


async def test_a_machine_that_listens_late_is_reached_by_a_later_request(start_edge: StartEdge) -> None:
    late = (
        "import os, sys, time, http.server as h\n"
        "while not os.path.exists('../../../listen'): time.sleep(0.01)\n"
        "h.HTTPServer((sys.argv[1], int(sys.argv[2])), h.SimpleHTTPRequestHandler).serve_forever()"
    )
    command = [sys.executable, "-c", late, "{host}", "{port}"]
    edge = await start_edge(command=command, wait=False, start_tries=3, start_window_s=0.3)
    assert await status_of(edge, "/echo.py") == 502
    (edge.state_dir / "listen").write_text("")
    await until(lambda: _is(edge, "/echo.py", 200), "it listens")


async def _is(edge: Edge, path: str, status: int) -> bool:
    return await status_of(edge, path) == status


async def test_a_process_that_ends_at_once_is_502_and_restarted_ten_times(start_edge: StartEdge) -> None:
    edge = await start_edge(command=[sys.executable, "-c", "exit(3)  # {port}"], wait=False)
    await until(lambda: edge.machine.state is State.STOPPED and not edge.machine.restarting, "given up")
    assert len([event for event in edge.machine.life.events if event.type == "started"]) == 11
    assert edge.machine.life.events[-1].detail["exit_code"] == 3


async def test_above_the_hard_limit_requests_queue_and_are_served_in_turn(start_edge: StartEdge) -> None:
    edge = await start_edge(soft=1, hard=2)
    async with edge.client(http2=True) as client:
        held = [asyncio.create_task(client.get("/hold")) for _ in range(6)]
        await until(lambda: edge.standin.fleet.gate.queued == 4, "four wait")
        assert edge.machine.load == 2
        (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")
        answers = await asyncio.gather(*held)
    assert [answer.content for answer in answers] == [b"held"] * 6
    assert edge.machine.load == 0


async def test_a_request_that_queued_for_too_long_is_503_and_never_reaches_the_app(start_edge: StartEdge) -> None:
    edge = await start_edge(soft=1, hard=1, queue_s=0.2)
    async with edge.client(http2=True) as client:
        first = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        assert (await client.get("/nowhere")).status_code == 503
        (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")
        await first
    refused = edge.standin.context.log.entries()[-1]
    assert (refused.status, refused.machines) == (503, [])
    assert "PR04" in refused.outcome


async def test_a_client_that_leaves_the_queue_frees_its_turn(start_edge: StartEdge) -> None:
    edge = await start_edge(soft=1, hard=1)
    async with edge.client() as client:
        first = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        second = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.standin.fleet.gate.queued == 1, "one waits")
        second.cancel()
        await until(lambda: edge.standin.fleet.gate.queued == 0, "it left")
        (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")
        assert (await first).content == b"held"


async def test_at_the_soft_limit_a_second_machine_is_started(start_edge: StartEdge) -> None:
    edge = await start_edge(soft=1, hard=5)
    second = await edge.standin.fleet.create()
    await second.stop()
    async with edge.client() as client:
        held = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        assert (await client.get("/nowhere")).status_code == 404
        await until(lambda: second.state is State.STARTED, "the second is started")
        (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")
        await held


async def test_an_idle_machine_is_stopped_and_woken_by_the_next_request(start_edge: StartEdge) -> None:
    edge = await start_edge(autostop="stop", idle_check_s=0.5, wait=False)
    await until(lambda: edge.machine.state is State.STOPPED, "stopped")
    # Later checks come too late to stop it while it still starts: it has been used since the one that is due.
    parts = edge.standin.fleet._parts
    parts.settings = replace(parts.settings, idle_check_s=1000)
    assert await status_of(edge) == 404


async def test_an_idle_machine_is_suspended_where_that_is_set(start_edge: StartEdge) -> None:
    edge = await start_edge(autostop="suspend", idle_check_s=1000)
    pid = (await edge.get("/show"))["pid"]
    for _ in range(2):
        await edge.standin.fleet.check_idle()
    assert edge.machine.state is State.SUSPENDED
    assert (await edge.get("/show"))["pid"] == pid


async def test_a_machine_with_a_request_in_flight_is_not_stopped(start_edge: StartEdge) -> None:
    edge = await start_edge(autostop="stop", idle_check_s=1000)
    async with edge.client() as client:
        held = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        for _ in range(3):
            await edge.standin.fleet.check_idle()
            assert edge.machine.state is State.STARTED
        (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")
        await held


async def test_a_machine_is_stopped_at_the_second_check_after_its_last_request(start_edge: StartEdge) -> None:
    edge = await start_edge(autostop="stop", idle_check_s=1000)
    assert await status_of(edge) == 404
    await edge.standin.fleet.check_idle()
    assert str(edge.machine.state) == "started"
    await edge.standin.fleet.check_idle()
    assert str(edge.machine.state) == "stopped"


async def test_a_machine_of_a_check_is_left_alone_and_makes_no_other_one_too_many(start_edge: StartEdge) -> None:
    edge = await start_edge(autostop="stop", idle_check_s=1000)
    fleet = edge.standin.fleet
    kept = [await fleet.create(pooled=False) for _ in range(2)]
    await until(lambda: all(machine.port is Port.OPEN for machine in kept), "their ports are open")
    for machine in kept:
        machine.used = False
    assert [await status_of(edge) for _ in range(10)] == [404] * 10
    assert [machine.used for machine in (edge.machine, *kept)] == [True, False, False]
    edge.machine.used = True
    await fleet.check_idle()
    assert [machine.state for machine in (edge.machine, *kept)] == [State.STARTED] * 3
    await fleet.check_idle()
    assert [machine.state for machine in (edge.machine, *kept)] == [State.STOPPED, State.STARTED, State.STARTED]


@pytest.mark.parametrize(("counts", "state"), [(True, State.STARTED), (False, State.STOPPED)])
async def test_whether_an_open_websocket_keeps_a_machine_up_is_a_setting(
    start_edge: StartEdge, counts: bool, state: State
) -> None:
    edge = await start_edge(autostop="stop", idle_check_s=1000, websockets_count=counts)
    async with connect(edge.url.replace("https", "wss") + "/ws", ssl=edge.tls(), open_timeout=60):
        for _ in range(2):
            await edge.standin.fleet.check_idle()
        assert str(edge.machine.state) == state


async def test_a_crashed_machine_is_started_again_and_serves(edge: Edge) -> None:
    pid = (await edge.get("/show"))["pid"]
    assert await status_of(edge, "/crash") == 502
    await until(lambda: edge.machine.healthy and len(edge.machine.life.events) > 3, "up again")
    assert (await edge.get("/show"))["pid"] != pid


async def test_a_machine_that_was_killed_stays_down_until_a_request_wakes_it(edge: Edge) -> None:
    await edge.machine.kill()
    assert edge.machine.state is State.STOPPED
    assert await status_of(edge) == 404


async def test_a_destroyed_app_without_machines_is_503(edge: Edge) -> None:
    await edge.standin.fleet.destroy(edge.machine.id)
    assert await status_of(edge) == 503


async def test_a_command_that_cannot_be_run_is_said_at_start(start_edge: StartEdge) -> None:
    with pytest.raises(DriverError, match=r"parity\.toml cannot be run: /no/such/program"):
        await start_edge(command=["/no/such/program", "{port}"])


async def test_an_app_bound_to_loopback_only_is_unreachable_as_on_fly(start_edge: StartEdge) -> None:
    if sys.platform != "linux":
        pytest.skip("this system has only one loopback address")
    command = ["{python}", "-m", "uvicorn", "echo:app", "--host", "127.0.0.1", "--port", "{port}"]
    edge = await start_edge(command=command, wait=False, start_tries=3, start_window_s=2)
    assert await status_of(edge) == 502


async def test_http_clients_can_be_many_on_one_sleeping_machine(edge: Edge) -> None:
    await edge.machine.stop()

    async def one(client: httpx.AsyncClient) -> int:
        return (await client.get("/nowhere")).status_code

    async with edge.client() as first, edge.client(http2=True) as second:
        assert list(await asyncio.gather(one(first), one(second))) == [404, 404]


async def test_a_stop_waits_for_what_is_in_flight_before_it_signals(start_edge: StartEdge) -> None:
    edge = await start_edge(cordon_s=60, kill_timeout=60)
    async with edge.client() as client:
        held = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        stopping = asyncio.create_task(edge.machine.stop())
        await until(lambda: edge.machine.state is State.STOPPING, "no new traffic")
        assert "signal" not in [event.type for event in edge.machine.life.events]
        (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")
        assert (await held).content == b"held"
        await stopping
    assert [event.detail["signal"] for event in edge.machine.life.events if event.type == "signal"] == ["SIGINT"]


async def test_a_stop_signals_after_the_wait_whatever_is_in_flight(start_edge: StartEdge) -> None:
    edge = await start_edge(cordon_s=0.1)
    async with edge.client() as client:
        held = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        stopping = asyncio.create_task(edge.machine.stop())
        await until(lambda: "signal" in [event.type for event in edge.machine.life.events], "signalled")
        held.cancel()
        await stopping


LATE = (
    "import os, sys, time, http.server as h\n"
    "while not os.path.exists('../../../listen'): time.sleep(0.01)\n"
    "h.HTTPServer((sys.argv[1], int(sys.argv[2])), h.SimpleHTTPRequestHandler).serve_forever()"
)


@pytest.mark.parametrize("checked", [True, False])
async def test_a_port_that_opens_after_the_tries_makes_the_machine_healthy(
    start_edge: StartEdge, checked: bool
) -> None:
    command = [sys.executable, "-c", LATE, "{host}", "{port}"]
    checks = QUICK.replace("/health", "/echo.py") if checked else ""
    edge = await start_edge(command=command, wait=False, checks=checks, start_tries=2, start_window_s=0.2)
    await until(lambda: edge.machine.port is Port.CLOSED, "the tries are over")
    assert not edge.machine.healthy
    deploy = asyncio.create_task(edge.standin.fleet.deploy(None, None, {}, wait=True, timeout_s=60))
    await until(lambda: edge.standin.fleet.release.number == 2 and edge.machine.port is Port.CLOSED, "again")
    (edge.state_dir / "listen").write_text("")
    assert (await deploy).status == "complete"
    assert await status_of(edge, "/echo.py") == 200


async def test_the_restarts_are_counted_anew_at_each_start(start_edge: StartEdge) -> None:
    toml = "\n[[restart]]\nretries = 1\n"
    edge = await start_edge(command=[sys.executable, "-c", "exit(3)  # {port}"], wait=False, toml=toml)
    machine = edge.machine
    for starts in (2, 4):
        await until(lambda: machine.given_up, "given up")
        assert len([event for event in machine.life.events if event.type == "started"]) == starts
        await machine.start()


async def test_a_request_is_sent_to_the_app_once(edge: Edge) -> None:
    """Also a GET on a kept-alive connection that the app ends without an answer."""
    async with edge.client() as client:
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.get("/crash")).status_code == 502
    await until(lambda: edge.machine.healthy and len(edge.machine.life.events) > 3, "up again")
    assert len([event for event in edge.machine.life.events if event.type == "stopped"]) == 1
