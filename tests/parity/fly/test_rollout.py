"""The strategies of ``[deploy]``: what happens in which order, and what is left after a failure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.parity.fly.support import QUICK, Edge, StartEdge, until

from parity.fly.machines.release import ReleaseFailed, ReleaseStatus
from parity.fly.rollout import at_a_time

SICK = {"HEALTH": "500"}


@pytest.mark.parametrize(
    ("wanted", "count", "at_once"), [(0.33, 1, 1), (0.33, 6, 1), (0.5, 6, 3), (1, 6, 1), (4, 6, 4), (9, 6, 6)]
)
def test_how_many_machines_a_rolling_release_replaces_at_once(wanted: float, count: int, at_once: int) -> None:
    assert at_a_time(wanted, count) == at_once


async def three(start_edge: StartEdge, toml: str = "") -> Edge:
    edge = await start_edge(checks=QUICK, toml=toml)
    for _ in range(2):
        await edge.standin.fleet.create()
    await until(lambda: all(m.healthy for m in edge.standin.fleet.machines.values()), "all healthy")
    return edge


def colours(edge: Edge) -> list[str]:
    return [machine.spec.environment.get("COLOUR", "red") for machine in edge.standin.fleet.machines.values()]


async def test_rolling_stops_at_the_first_machine_that_is_not_healthy(start_edge: StartEdge) -> None:
    edge = await three(start_edge)
    ids = list(edge.standin.fleet.machines)
    with pytest.raises(ReleaseFailed):
        await edge.standin.fleet.deploy(None, None, {**SICK, "COLOUR": "blue"}, wait=True, timeout_s=3)
    assert colours(edge) == ["blue", "red", "red"]
    assert list(edge.standin.fleet.machines) == ids


async def test_max_unavailable_lets_a_rolling_release_take_several_down(start_edge: StartEdge) -> None:
    edge = await three(start_edge, "\n[deploy]\nmax_unavailable = 2\n")
    with pytest.raises(ReleaseFailed):
        await edge.standin.fleet.deploy(None, None, {**SICK, "COLOUR": "blue"}, wait=True, timeout_s=3)
    assert colours(edge) == ["blue", "blue", "red"]


async def test_immediate_replaces_all_and_waits_for_nothing(start_edge: StartEdge) -> None:
    edge = await three(start_edge, '\n[deploy]\nstrategy = "immediate"\n')
    release = await edge.standin.fleet.deploy(None, None, {**SICK, "COLOUR": "blue"}, wait=True, timeout_s=60)
    assert release.status is ReleaseStatus.COMPLETE
    assert colours(edge) == ["blue"] * 3


async def test_a_sick_canary_stops_the_release_before_any_machine_is_replaced(start_edge: StartEdge) -> None:
    edge = await three(start_edge)
    ids = list(edge.standin.fleet.machines)
    fleet = edge.standin.fleet
    with pytest.raises(ReleaseFailed):
        await fleet.deploy(None, None, {**SICK, "COLOUR": "blue"}, wait=True, timeout_s=3, strategy="canary")
    assert (colours(edge), list(fleet.machines)) == (["red"] * 3, ids)
    await fleet.deploy(None, None, {"COLOUR": "blue"}, wait=True, timeout_s=60, strategy="canary")
    assert (colours(edge), list(fleet.machines)) == (["blue"] * 3, ids)


async def test_bluegreen_takes_over_when_all_are_healthy_and_never_before(start_edge: StartEdge) -> None:
    edge = await three(start_edge)
    fleet, blue = edge.standin.fleet, list(edge.standin.fleet.machines)
    with pytest.raises(ReleaseFailed):
        await fleet.deploy(None, None, {**SICK, "COLOUR": "blue"}, wait=True, timeout_s=3, strategy="bluegreen")
    assert (list(fleet.machines), fleet.release.number) == (blue, 1)

    environment: dict[str, str | None] = {"COLOUR": "green", "ECHO_BOOT_S": "1"}
    deploying = asyncio.create_task(
        fleet.deploy(None, None, environment, wait=True, timeout_s=60, strategy="bluegreen")
    )
    await until(lambda: len(fleet.machines) > 3, "green Machines boot")
    answered = set()
    while not deploying.done():
        answered.add((await edge.get("/show"))["env"].get("COLOUR", "red"))
        if any(machine.cordoned for machine in fleet.machines.values()):
            assert answered == {"red"}
    release = await deploying
    assert (release.number, colours(edge)) == (3, ["green"] * 3)
    assert not set(fleet.machines) & set(blue)
    assert (await edge.get("/show"))["env"]["COLOUR"] == "green"


def release_command(code: str) -> str:
    return "\n[deploy]\nrelease_command = '''{python} -c \"import os, sys, pathlib; " + code + "\"'''\n"


async def test_a_release_command_runs_first_with_the_releases_environment(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    code = f"pathlib.Path('{note}').open('a').write(os.environ.get('COLOUR', 'red') + os.environ['RELEASE_COMMAND'])"
    edge = await start_edge(toml=release_command(code))
    assert note.read_text() == "red1"
    await edge.standin.fleet.deploy(None, None, {"COLOUR": "blue"}, wait=True, timeout_s=60)
    assert note.read_text() == "red1blue1"


async def test_a_failed_release_command_replaces_nothing_and_shows_its_output(start_edge: StartEdge) -> None:
    edge = await start_edge(toml=release_command("sys.exit('no such table' if 'BAD' in os.environ else 0)"))
    pid = (await edge.get("/show"))["pid"]
    with pytest.raises(ReleaseFailed, match="ended with code 1:\nno such table"):
        await edge.standin.fleet.deploy(None, None, {"BAD": "1"}, wait=True, timeout_s=60)
    assert (await edge.get("/show"))["pid"] == pid
    assert edge.standin.fleet.release.number == 1
    await edge.standin.fleet.deploy(None, None, {}, wait=True, timeout_s=60)
    assert edge.standin.fleet.release.number == 3


async def test_a_release_command_that_takes_too_long_fails_the_release(start_edge: StartEdge) -> None:
    edge = await start_edge(toml=release_command("import time; time.sleep(600 if 'BAD' in os.environ else 0)"))
    fleet = edge.standin.fleet
    # Only now, because the first release's command must end in time.
    deploy = fleet._parts.config.deploy.model_copy(update={"release_command_timeout_s": 0.5})
    fleet._once._config = fleet._parts.config.model_copy(update={"deploy": deploy})
    with pytest.raises(ReleaseFailed, match=r"did not end within 0\.5 s"):
        await fleet.deploy(None, None, {"BAD": "1"}, wait=True, timeout_s=60)
    assert len(list((edge.state_dir / "machines").iterdir())) == 1
