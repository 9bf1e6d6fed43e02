"""While a debugger is attached, no limit of the edge or of a Machine passes; afterwards each does again.

A limit that is due asks whether it may pass. So a test waits until that was asked, and then looks at the state.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from tests.parity.fly.edge.test_replay import orders, two
from tests.parity.fly.support import Edge, StartEdge, until

from parity.config.fly_tables import Check
from parity.fly.machines.checks import Called, CheckRunner, Health
from parity.fly.machines.port import Port, PortProbe
from parity.fly.settings import load_fly_settings


class Debugger:
    """Attached or not; counts how often that was asked."""

    def __init__(self) -> None:
        self.attached, self.asked = True, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.attached

    async def was_asked(self, times: int) -> None:
        before = self.asked
        await until(lambda: self.asked >= before + times, "a limit was due")


def finish(edge: Edge) -> None:
    """Let `/hold` answer."""
    (edge.state_dir / "machines" / edge.machine.id / "source" / "go").write_text("")


async def test_the_idle_timeout_stands_still(start_edge: StartEdge) -> None:
    edge, debugger = await start_edge(idle_timeout_s=0.2), Debugger()
    edge.standin.fleet.paused = debugger
    async with edge.client() as client:
        held = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "the request is in the app")
        await debugger.was_asked(20)  # ten times in each idle timeout
        assert edge.machine.load == 1
        debugger.attached = False
        assert (await held).status_code == 502
    assert edge.standin.context.log.entries()[-1].outcome == "idle timeout"


async def test_the_queues_limit_stands_still(start_edge: StartEdge) -> None:
    edge, debugger = await start_edge(soft=1, hard=1, queue_s=0.1), Debugger()
    edge.standin.fleet.paused = debugger
    async with edge.client(http2=True) as client:
        first = asyncio.create_task(client.get("/hold"))
        await until(lambda: edge.machine.load == 1, "one is in")
        second = asyncio.create_task(client.get("/nowhere"))
        await until(lambda: edge.standin.fleet.gate.queued == 1, "one waits")
        await debugger.was_asked(2)
        assert edge.standin.fleet.gate.queued == 1
        debugger.attached = False
        assert (await second).status_code == 503
        finish(edge)
        assert (await first).status_code == 200


async def test_a_replays_timeout_stands_still(start_edge: StartEdge) -> None:
    edge, first, second = await two(start_edge)
    debugger = Debugger()
    edge.standin.fleet.paused = debugger
    await edge.standin.fleet.get(second).stop()
    edge.standin.fleet.get(second).spec.environment["ECHO_BOOT_S"] = "60"
    order = [{"fly-replay": f"instance={second};timeout=100ms"}, ""]
    async with edge.client() as client:
        headers = {**orders(**{first: order}), "fly-force-instance-id": first}
        asked = asyncio.create_task(client.get("/hand", headers=headers))
        await debugger.was_asked(2)
        assert not asked.done()
        debugger.attached = False
        assert (await asked).status_code == 502


async def test_an_idle_machine_is_not_stopped(start_edge: StartEdge) -> None:
    edge, debugger = await start_edge(autostop="stop", idle_check_s=1000), Debugger()
    edge.standin.fleet.paused = debugger
    for _ in range(3):
        await edge.standin.fleet.check_idle()
    assert str(edge.machine.state) == "started"
    debugger.attached = False
    for _ in range(2):
        await edge.standin.fleet.check_idle()
    assert str(edge.machine.state) == "stopped"


async def test_a_port_that_is_not_open_yet_is_waited_for() -> None:
    """A breakpoint in what runs before the app listens."""
    debugger = Debugger()
    settings = replace(load_fly_settings({}), start_tries=1, start_window_s=0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        probe = PortProbe(settings, None, lambda: None, debugger)
        probe.begin(free.getsockname(), wait_s=0, dev=True)
        await debugger.was_asked(2)
        assert probe.state.value == "probing"
        debugger.attached = False
        await until(lambda: probe.state is Port.CLOSED, "the edge gives up")


async def test_a_health_check_without_an_answer_counts_for_nothing() -> None:
    """Neither while the debugger is attached, nor, until its grace period is over, afterwards."""
    debugger, check = Debugger(), Check.model_validate({"path": "/", "grace_period": "1m"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
        runner = CheckRunner([Called("c", check, port)], host, {}, None, 0.01, lambda: None, debugger)
        (state,) = runner.states
        await debugger.was_asked(3)
        assert (state.health, state.output) == (Health.WAITING, "")
        debugger.attached = False
        await until(lambda: state.output != "", "an answer counts")
        assert state.health is Health.WAITING
        runner.close()
