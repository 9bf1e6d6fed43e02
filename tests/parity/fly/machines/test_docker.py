"""Machines as containers, observed through the engine and through the edge."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.parity.fly.machines.engine import CA_PATH, IMAGE, containers
from tests.parity.fly.support import Edge, StartEdge, until

from parity.fly.machines import cpu
from parity.fly.machines.cpu import CpuMode
from parity.fly.machines.docker import DockerDriver
from parity.fly.machines.driver import DriverError
from parity.fly.machines.state import State
from parity.fly.settings import load_fly_settings

pytestmark = pytest.mark.docker


async def test_a_machine_is_a_container_of_the_compose_service_with_flys_limits(
    container_edge: Edge, docker: Any, project: str
) -> None:
    (shown,) = await containers(docker, project)
    labels, host = shown["Config"]["Labels"], shown["HostConfig"]
    assert labels["com.docker.compose.service"] == "api"
    assert labels["com.docker.compose.oneoff"] == "False"
    assert labels["com.docker.compose.config-hash"]
    assert (host["Memory"], host["MemorySwap"]) == (256 << 20, 256 << 20)
    assert (host["CpuPeriod"], host["CpuQuota"]) == (80_000, 80_000)
    assert "api" in shown["NetworkSettings"]["Networks"][f"{project}_machines"]["Aliases"]
    assert shown["Config"]["Hostname"] == container_edge.machine.id


async def test_a_machine_gets_the_apps_environment_and_flys_own(container_edge: Edge) -> None:
    environment = await container_edge.get("/env")
    assert environment["APP_ENV"] == "staging"
    assert environment["FLY_MACHINE_ID"] == container_edge.machine.id
    assert environment["FLY_VM_MEMORY_MB"] == "256"
    assert environment["FLY_IMAGE_REF"].startswith(f"{IMAGE}@sha256:")


async def test_pid_1_is_an_init_that_reaps(container_edge: Edge) -> None:
    answer = await container_edge.get("/pid1")
    assert "init" in answer["command"]
    assert answer["pid"] != 1


async def test_the_trust_anchor_is_in_the_container_before_it_starts(container_edge: Edge) -> None:
    assert (await container_edge.get(f"/read?{CA_PATH}"))["text"] == "the trust anchor"


async def test_files_of_fly_toml_are_there_and_a_root_that_is_kept_outlives_a_restart(
    driver: DockerDriver, start_edge: StartEdge
) -> None:
    toml = 'persist_rootfs = "restart"\n[[files]]\nguest_path = "/etc/own/key"\nraw_value = "eA=="\n'
    edge = await start_edge(driver=driver, toml=toml)
    assert (await edge.get("/read?/etc/own/key"))["text"] == "x"
    assert await edge.get("/write") == {"existed": False}
    await edge.machine.stop()
    assert await edge.get("/write") == {"existed": True}
    await edge.standin.fleet.deploy(None, None, {"A": "1"}, wait=True, timeout_s=120)
    assert await edge.get("/write") == {"existed": False}


async def test_every_start_has_a_fresh_root_filesystem(container_edge: Edge) -> None:
    assert await container_edge.get("/write") == {"existed": False}
    assert await container_edge.get("/write") == {"existed": True}
    await container_edge.machine.stop()
    assert await container_edge.get("/write") == {"existed": False}


async def test_a_resumed_machine_keeps_its_files_and_its_process(
    container_edge: Edge, docker: Any, project: str
) -> None:
    await container_edge.get("/write")
    await container_edge.machine.suspend()
    (shown,) = await containers(docker, project)
    assert shown["State"]["Paused"]
    assert await container_edge.get("/write") == {"existed": True}
    assert container_edge.machine.state is State.STARTED


async def test_stopping_sends_the_kill_signal_and_keeps_the_log(container_edge: Edge, driver: DockerDriver) -> None:
    machine = container_edge.machine
    await machine.stop()
    assert await driver.logs(machine.id, 10) == ["listening", "signal SIGINT"]
    await machine.start()
    await until(lambda: machine.healthy, "healthy")
    assert (await driver.logs(machine.id, 10))[:2] == ["listening", "signal SIGINT"]


async def test_a_machine_that_ignores_signals_is_killed_at_twice_the_timeout(
    driver: DockerDriver, start_edge: StartEdge
) -> None:
    edge = await start_edge(driver=driver, environment={"STUBBORN": "1"}, kill_timeout=1)
    await edge.machine.stop()
    sent = [event.detail["signal"] for event in edge.machine.life.events if event.type == "signal"]
    assert sent == ["SIGINT", "SIGTERM", "SIGKILL"]
    assert edge.machine.life.events[-1].detail["exit_code"] == 137


async def test_a_machine_over_its_memory_is_killed_and_started_again(container_edge: Edge) -> None:
    async with container_edge.client() as client:
        assert (await client.get("/eat")).status_code == 502
    machine = container_edge.machine
    await until(lambda: machine.life.events[-1].type == "port" and len(machine.life.events) > 3, "started again")
    stopped = [event.detail for event in machine.life.events if event.type == "stopped"]
    assert [(e["exit_code"], e["oom_killed"]) for e in stopped] == [(137, True)]


async def test_a_child_killed_for_memory_is_told_although_the_machine_goes_on(container_edge: Edge) -> None:
    assert (await container_edge.get("/eat-child"))["code"] == -9
    machine = container_edge.machine
    await until(lambda: "oom" in [event.type for event in machine.life.events], "the event")
    assert machine.state is State.STARTED


async def test_a_container_that_someone_removes_is_made_again(container_edge: Edge, docker: Any, project: str) -> None:
    (shown,) = await containers(docker, project)
    machine = container_edge.machine
    await docker.containers.container(shown["Id"]).delete(force=True)
    await until(lambda: machine.life.events[-1].type == "port" and len(machine.life.events) > 3, "again")
    (again,) = await containers(docker, project)
    assert again["Id"] != shown["Id"]


async def test_a_container_that_compose_stops_and_removes_is_made_again(
    container_edge: Edge, docker: Any, project: str
) -> None:
    (shown,) = await containers(docker, project)
    machine = container_edge.machine
    container = docker.containers.container(shown["Id"])
    await container.stop()  # ends well, so no restart policy applies
    await until(lambda: machine.state is State.STOPPED, "stopped")
    await container.delete()
    await until(lambda: machine.state is State.STARTED and machine.healthy, "again")
    (again,) = await containers(docker, project)
    assert again["Id"] != shown["Id"]


async def test_opening_removes_machines_of_an_earlier_run(
    driver: DockerDriver, docker: Any, project: str, start_edge: StartEdge
) -> None:
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": "api",
        "parity.fly.machine": "left",
    }
    await docker.containers.create({"Image": IMAGE, "Labels": labels}, name=f"{project}-left")
    await start_edge(driver=driver)
    assert f"/{project}-left" not in [shown["Name"] for shown in await containers(docker, project)]


async def test_closing_leaves_no_container(driver: DockerDriver, docker: Any, project: str) -> None:
    await driver.open()
    await docker.containers.create(
        {
            "Image": IMAGE,
            "Labels": {
                "com.docker.compose.project": project,
                "com.docker.compose.service": "api",
                "parity.fly.machine": "x",
            },
        }
    )
    await driver.close()
    assert await containers(docker, project) == []


async def test_a_missing_image_says_what_to_build(project: str, tmp_path: Path) -> None:
    settings = replace(load_fly_settings({}), project=project)
    driver = DockerDriver("parity-no-such-image", tmp_path / "state", settings, tmp_path / "ca.pem", None)
    await driver.open()
    try:
        with pytest.raises(DriverError, match=r"no image parity-no-such-image .* build it first"):
            await driver.resolve(None, None)
    finally:
        await driver.close()


async def test_a_missing_network_is_named(image: str, tmp_path: Path) -> None:
    settings = replace(load_fly_settings({}), project="parity-no-such-project")
    driver = DockerDriver(image, tmp_path / "state", settings, tmp_path / "ca.pem", None)
    with pytest.raises(DriverError, match="parity-no-such-project_machines"):
        await driver.open()


async def test_the_cpu_quota_follows_the_mode_and_what_was_used(
    container_edge: Edge, docker: Any, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, machine = container_edge.standin.fleet, container_edge.machine

    async def quota() -> int:
        (shown,) = await containers(docker, project)
        return int(shown["HostConfig"]["CpuQuota"])

    await fleet.set_cpu(CpuMode.BASELINE)
    assert await quota() == 5_000
    assert machine.as_json()["cpu"]["throttled"]
    await fleet.set_cpu(CpuMode.BURST)
    assert await quota() == 80_000
    # Of a busy computer the container gets less than Fly's 5 ms, and would never spend its balance.
    monkeypatch.setattr(cpu, "BASELINE", 1 / 80)
    machine.cpu.balance_s = 0.2
    async with container_edge.client() as client:
        spinning = asyncio.create_task(client.get("/spin", timeout=60))

        async def at_the_baseline() -> bool:
            return await quota() <= 2_000

        await until(at_the_baseline, "the balance is spent and the quota is the baseline")
        spinning.cancel()
    assert fleet.configured_cpu is CpuMode.OFF
    await fleet.set_cpu(fleet.configured_cpu)
    assert await quota() == 80_000
    second = await fleet.create()
    assert second.cpu.mode is CpuMode.OFF


async def test_a_machine_starts_with_the_quota_that_is_set(
    driver: DockerDriver, start_edge: StartEdge, docker: Any, project: str
) -> None:
    await start_edge(driver=driver, cpu="baseline", wait=False)
    (shown,) = await containers(docker, project)
    assert shown["HostConfig"]["CpuQuota"] == 5_000


async def test_outbound_connections_are_dead_after_a_resume(container_edge: Edge, docker: Any, project: str) -> None:
    fleet, first = container_edge.standin.fleet, container_edge.machine
    second = await fleet.create()
    await until(lambda: second.healthy, "both healthy")
    async with container_edge.client() as client:
        force = {"fly-force-instance-id": first.id}
        assert second.address is not None
        target = f"{second.address[0]}:8080"
        assert (await client.get(f"/dial?{target}", headers=force)).json() == {"answered": True}
        assert (await client.get("/dialled?60", headers=force)).json() == {"answered": True}
        await first.suspend()
        assert (await client.get("/dialled", headers=force)).json() == {"answered": False}
        assert (await client.get(f"/dial?{target}", headers=force)).json() == {"answered": True}


GROUP = """
[processes]
web = "python3 -u /server.py web"
other = "sleep 1000"
[[mounts]]
source = "data"
destination = "/data"
processes = ["web"]
"""


async def test_a_groups_command_runs_with_its_volume_which_outlives_stops_and_releases(
    driver: DockerDriver, start_edge: StartEdge, docker: Any, project: str
) -> None:
    edge = await start_edge(driver=driver, toml=GROUP, service='processes = ["web"]')
    fleet = edge.standin.fleet
    commands = [shown["Config"]["Cmd"] for shown in await containers(docker, project)]
    assert sorted(commands) == [["python3", "-u", "/server.py", "web"], ["sleep", "1000"]]
    assert (await edge.get("/env"))["FLY_PROCESS_GROUP"] == "web"
    mounts = [mount for shown in await containers(docker, project) for mount in shown["HostConfig"].get("Mounts", [])]
    assert [mount["VolumeOptions"]["NoCopy"] for mount in mounts] == [True]  # empty and root's, as on Fly
    try:
        assert await edge.get("/write?/data/x") == {"existed": False}
        await edge.machine.stop()
        assert await edge.get("/write?/data/x") == {"existed": True}
        await fleet.deploy(None, None, {"A": "1"}, wait=True, timeout_s=60)
        assert await edge.get("/write?/data/x") == {"existed": True}
        second = await fleet.create()
        await until(lambda: second.healthy, "healthy")
        async with edge.client() as client:
            force = {"fly-force-instance-id": second.id}
            assert (await client.get("/write?/data/x", headers=force)).json() == {"existed": False}
        await fleet.destroy(edge.machine.id)
        third = await fleet.create()
        await until(lambda: third.healthy, "healthy")
        async with edge.client() as client:
            force = {"fly-force-instance-id": third.id}
            assert (await client.get("/write?/data/x", headers=force)).json() == {"existed": True}
    finally:
        await fleet.close()
        for number in (0, 1):
            async with docker._query(f"volumes/{project}_data_{number}", method="DELETE") as answer:
                assert answer.status == 204
