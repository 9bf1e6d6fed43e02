"""Releases: every Machine replaced under its id, failures told and not rolled back."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.parity.fly.support import CHECKS, QUICK, SOURCE, Edge, StartEdge, until

from parity.fly.machines.checks import Health
from parity.fly.machines.driver import DriverError
from parity.fly.machines.release import FOLLOWS, Release, ReleaseFailed, ReleaseStatus


def test_a_release_lays_its_environment_over_the_configured_one_and_null_removes() -> None:
    release = Release(1, env={"A": "new", "B": None})
    assert release.environment({"A": "old", "B": "x", "C": "y"}) == {"A": "new", "C": "y"}


def test_a_release_that_ended_stays_as_it_is() -> None:
    assert FOLLOWS[ReleaseStatus.COMPLETE] == FOLLOWS[ReleaseStatus.FAILED] == frozenset()
    with pytest.raises(ValueError, match="it cannot become complete"):
        Release(1).move(ReleaseStatus.COMPLETE)


def test_versions_sort_by_the_releases_number() -> None:
    assert Release(9).version < Release(10).version


async def test_a_release_with_another_environment_replaces_every_machine_under_its_id(start_edge: StartEdge) -> None:
    edge = await start_edge(environment={"COLOUR": "red", "OLD": "1"})
    fleet = edge.standin.fleet
    await fleet.create()
    before = list(fleet.machines)
    release = await fleet.deploy(None, None, {"COLOUR": "blue", "OLD": None}, wait=True, timeout_s=60)
    assert list(fleet.machines) == before
    assert release.status is ReleaseStatus.COMPLETE
    for machine in before:
        async with edge.client() as client:
            answer = (await client.get("/show", headers={"fly-force-instance-id": machine})).json()
        assert answer["env"]["COLOUR"] == "blue"
        assert "OLD" not in answer["env"]
        assert answer["env"]["FLY_MACHINE_VERSION"] == release.version


async def test_a_release_of_another_source_runs_it_and_an_empty_one_returns(edge: Edge, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(SOURCE, other)
    code = other / "echo.py"
    code.write_text(code.read_text().replace('b"not found"', 'b"another release"'))
    fleet = edge.standin.fleet
    await fleet.deploy(None, other, {}, wait=True, timeout_s=60)
    async with edge.client() as client:
        assert (await client.get("/nowhere")).content == b"another release"
        await fleet.deploy(None, None, {}, wait=True, timeout_s=60)
        assert (await client.get("/nowhere")).content == b"not found"


async def test_a_release_whose_checks_never_pass_fails_and_keeps_running(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=QUICK)
    fleet = edge.standin.fleet
    with pytest.raises(ReleaseFailed, match=r"not healthy within 5 s: started, .*checks: servicecheck-00-http-8080 "):
        await fleet.deploy(None, None, {"HEALTH": "500"}, wait=True, timeout_s=5)
    assert fleet.release.status is ReleaseStatus.FAILED
    (check,) = edge.machine.checks.states
    await until(lambda: (check.health, check.output) == (Health.CRITICAL, "500: well"), "its check fails")
    assert edge.machine.spec.environment["HEALTH"] == "500"


async def test_a_release_that_does_not_wait_is_complete_before_it_is_healthy(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=CHECKS)
    release = await edge.standin.fleet.deploy(None, None, {"HEALTH": "500"}, wait=False, timeout_s=1)
    assert release.status is ReleaseStatus.COMPLETE
    assert not edge.standin.fleet.healthy
    assert not edge.standin.fleet.ready


async def test_requests_are_held_while_their_only_machine_is_replaced(edge: Edge) -> None:
    fleet = edge.standin.fleet
    deploying = asyncio.create_task(fleet.deploy(None, None, {"COLOUR": "blue"}, wait=True, timeout_s=60))
    # An event stays: the states in which it is replaced may have passed by.
    await until(lambda: "stopping" in [event.type for event in edge.machine.life.events], "it is being replaced")
    assert (await edge.get("/show"))["env"]["COLOUR"] == "blue"
    await deploying


async def test_a_release_that_the_driver_cannot_run_changes_nothing(edge: Edge) -> None:
    pid = (await edge.get("/show"))["pid"]
    with pytest.raises(DriverError):
        await edge.standin.fleet.deploy("app:tag", None, {}, wait=True, timeout_s=5)
    assert edge.standin.fleet.release.number == 1
    assert (await edge.get("/show"))["pid"] == pid


async def test_closing_while_a_machine_starts_leaves_no_process(start_edge: StartEdge) -> None:
    edge = await start_edge()
    pid = (await edge.get("/show"))["pid"]
    await edge.machine.stop()
    starting = asyncio.create_task(edge.machine.start())
    await until(lambda: edge.machine.state != "stopped", "it starts")
    await edge.standin.fleet.close()
    await starting
    assert edge.machine.state == "destroyed"
    assert list((edge.state_dir / "machines").iterdir()) == []
    assert not Path(f"/proc/{pid}").exists()


async def test_an_app_whose_machine_gave_up_is_not_ready(start_edge: StartEdge) -> None:
    edge = await start_edge(toml='\n[[restart]]\npolicy = "never"\n')
    assert edge.standin.fleet.ready
    async with edge.client() as client:
        await client.get("/crash")
    await until(lambda: edge.machine.state == "stopped", "it ended")
    assert not edge.standin.fleet.ready


async def test_an_app_whose_checks_fail_is_not_ready(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=QUICK)
    assert edge.standin.fleet.ready
    async with edge.client() as client:
        await client.get("/sick")
    await until(lambda: not edge.standin.fleet.ready, "not ready")
