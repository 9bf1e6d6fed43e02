"""Process groups that serve no HTTP: Machines of their own, which the edge leaves alone and each release replaces."""

from __future__ import annotations

from pathlib import Path

from tests.parity.fly.support import StartEdge, until

from parity.fly.machines.state import State

GROUPS = '\n[processes]\napp = "serve"\nworker = "work"\n'
SERVED = 'processes = ["app"]'
WORK = ("/bin/sh", "-c", "echo $FLY_PROCESS_GROUP $COLOUR > seen; exec sleep 100")


async def test_a_worker_runs_beside_the_group_that_serves_and_gets_no_requests(start_edge: StartEdge) -> None:
    edge = await start_edge(toml=GROUPS, service=SERVED, commands={"worker": WORK}, environment={"COLOUR": "red"})
    fleet = edge.standin.fleet
    (worker,) = fleet.workers.machines.values()
    assert (worker.state, worker.healthy, worker.id in fleet.machines) == (State.STARTED, True, False)
    assert fleet.get(worker.id) is worker
    seen = _seen(edge.state_dir, worker.id)
    await until(lambda: seen.exists() and seen.read_text() == "worker red\n", "the worker has its environment")
    async with edge.client() as client:
        for _ in range(3):
            assert (await client.get("/show")).json()["env"]["FLY_PROCESS_GROUP"] == "app"
    assert worker.requests == 0


async def test_a_release_replaces_the_worker_too(start_edge: StartEdge) -> None:
    edge = await start_edge(toml=GROUPS, service=SERVED, commands={"worker": WORK}, environment={"COLOUR": "red"})
    fleet = edge.standin.fleet
    (before,) = fleet.workers.machines
    await fleet.deploy(None, None, {"COLOUR": "blue"}, wait=True, timeout_s=60)
    (worker,) = fleet.workers.machines.values()
    assert worker.id == before
    seen = _seen(edge.state_dir, worker.id)
    await until(lambda: seen.exists() and seen.read_text() == "worker blue\n", "it has the release's environment")


async def test_an_idle_app_is_scaled_to_zero_and_its_worker_is_not(start_edge: StartEdge) -> None:
    edge = await start_edge(toml=GROUPS, service=SERVED, commands={"worker": WORK}, autostop="stop")
    fleet = edge.standin.fleet
    (worker,) = fleet.workers.machines.values()
    for _ in range(3):
        await fleet.check_idle()
    assert edge.machine.state is State.STOPPED
    assert worker.state is State.STARTED


async def test_a_worker_that_crashes_is_started_again_by_its_restart_policy(start_edge: StartEdge) -> None:
    once = ("/bin/sh", "-c", "echo x >> ../../times; test $(wc -l < ../../times) -gt 1 || exit 1; exec sleep 100")
    edge = await start_edge(toml=GROUPS, service=SERVED, commands={"worker": once})
    (worker,) = edge.standin.fleet.workers.machines.values()
    times = edge.state_dir / "machines/times"
    await until(lambda: times.exists() and times.read_text() == "x\nx\n", "it was started a second time")
    await until(lambda: worker.state is State.STARTED, "it runs")


async def test_no_worker_is_left_when_the_stand_in_ends(start_edge: StartEdge) -> None:
    edge = await start_edge(toml=GROUPS, service=SERVED, commands={"worker": WORK})
    (worker,) = edge.standin.fleet.workers.machines.values()
    await edge.standin.fleet.close()
    assert worker.state is State.DESTROYED
    assert not (edge.state_dir / "machines" / worker.id).exists()


def _seen(state_dir: Path, machine: str) -> Path:
    (found,) = [
        path for path in (state_dir / "machines" / machine).iterdir() if path.name not in ("home", "pid", "tmp")
    ]
    return found / "seen"
