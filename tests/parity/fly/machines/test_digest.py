"""A release is one image: whatever a tag means later, each start of its Machines runs the digest it was resolved to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.parity.fly.machines.engine import build, containers
from tests.parity.fly.support import Edge, StartEdge, until

from parity.fly.machines.docker import DockerDriver
from parity.fly.machines.state import State
from parity.fly.settings import load_fly_settings

pytestmark = pytest.mark.docker

Build = Callable[[str], Awaitable[str]]


class Owned(DockerDriver):
    """As in compose: the stand-in is a container itself, so that a restart of it can be told from a new one."""

    container = "c1"

    @property
    def owner(self) -> str:
        return self.container


@pytest.fixture
async def rebuild(docker: Any, project: str) -> AsyncIterator[Build]:
    """Builds another image under the same tag, which is the project's name; returns its digest."""

    async def again(commit: str) -> str:
        # The project's name makes it this test's own image: no other run has it under another tag.
        return await build(docker, project, {"org.opencontainers.image.revision": commit, "parity.test": project})

    yield again
    await docker.images.delete(project, force=True)


@pytest.fixture
def owned(project: str, tmp_path: Path) -> Callable[[], Owned]:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    settings = replace(load_fly_settings({}), project=project)
    return lambda: Owned(project, tmp_path / "state", settings, ca, None)


async def running(docker: Any, project: str) -> list[str]:
    return [shown["Image"] for shown in await containers(docker, project)]


async def test_each_start_runs_the_digest_of_the_release(
    docker: Any, image: str, project: str, rebuild: Build, owned: Callable[[], Owned], start_edge: StartEdge
) -> None:
    first = await rebuild("commit-1")
    edge = await start_edge(driver=owned())
    second = await rebuild("commit-2")
    assert first != second
    fleet, machine = edge.standin.fleet, edge.machine

    await machine.stop()
    assert (await edge.get("/env"))["FLY_IMAGE_REF"] == f"{project}@{first}"  # woken
    async with edge.client() as client:
        await client.get("/die")
    await until(lambda: machine.healthy and machine.life.events[-1].type == "port", "restarted")
    other = await fleet.create()
    assert await running(docker, project) == [first, first]
    await fleet.destroy(machine.id)
    assert await running(docker, project) == [first]
    shown = other.as_json()
    assert (shown["image_ref"], shown["digest"], shown["commit"]) == (f"{project}@{first}", first, "commit-1")
    newer = await fleet.newer_build()
    assert newer is not None
    assert (newer.digest, newer.commit) == (second, "commit-2")

    await fleet.deploy(None, None, {}, wait=False, timeout_s=0)
    assert await running(docker, project) == [second]
    assert await fleet.newer_build() is None
    assert [found.digest for found in fleet.images.ran_since(0)] == [first, second]


async def test_a_restarted_stand_in_goes_on_with_its_release_and_a_new_one_takes_the_tag(
    docker: Any, image: str, project: str, rebuild: Build, owned: Callable[[], Owned], start_edge: StartEdge
) -> None:
    first = await rebuild("commit-1")
    edge = await start_edge(driver=owned())
    await edge.standin.fleet.deploy(None, None, {"COLOUR": "blue"}, wait=False, timeout_s=0)
    await edge.standin.fleet.close()
    second = await rebuild("commit-2")

    again = await start_edge(driver=owned())
    release = again.standin.fleet.release
    assert (release.number, release.resolved.digest) == (2, first)
    assert (await again.get("/env"))["COLOUR"] == "blue"
    assert await running(docker, project) == [first]
    assert [found.digest for found in again.standin.fleet.images.ran_since(0)] == [first]
    await again.standin.fleet.close()

    driver = owned()
    driver.container = "c2"
    await start_edge(driver=driver)
    assert await running(docker, project) == [second]


async def test_an_image_that_no_registry_holds_is_found_by_name_and_digest(
    docker: Any, image: str, project: str, rebuild: Build, owned: Callable[[], Owned]
) -> None:
    first = await rebuild("commit-1")
    # The name means another image by now, and the engine still has the first one: a Machine may run it.
    await docker.images.tag(first, repo=f"{project}-kept")
    await rebuild("commit-2")
    driver = owned()
    await driver.open()
    try:
        found = await driver.resolve(f"docker.io/{project}@{first}", None)
        assert (found.digest, found.commit) == (first, "commit-1")
    finally:
        await driver.close()
        await docker.images.delete(f"{project}-kept", force=True)


async def test_a_machine_that_compose_removes_after_a_build_comes_back_as_a_release_of_that_build(
    docker: Any, image: str, project: str, rebuild: Build, owned: Callable[[], Owned], start_edge: StartEdge
) -> None:
    first = await rebuild("commit-1")
    edge = await start_edge(driver=owned())
    await edge.standin.fleet.create()
    second = await rebuild("commit-2")
    by_force, by_stop = (docker.containers.container(shown["Id"]) for shown in await containers(docker, project))
    await by_force.delete(force=True)
    await by_stop.kill(signal="SIGKILL")  # ends badly, as an app does that does not handle the signal
    await by_stop.delete()

    def both_are_back() -> bool:
        machines = edge.standin.fleet.machines.values()
        return all(m.state is State.STARTED and m.spec.image.digest == second for m in machines)

    await until(both_are_back, "both run the new build")
    await until(lambda: edge.standin.fleet.healthy, "healthy")
    assert set(await running(docker, project)) == {second}
    assert edge.standin.fleet.release.number == 2
    assert first != second


async def test_an_image_that_a_check_built_is_known_as_a_variant(
    docker: Any, image: str, project: str, owned: Callable[[], Owned]
) -> None:
    tag = f"{project}-variant"
    await build(docker, tag, {"parity.broken": "true"})
    driver = owned()
    await driver.open()
    try:
        assert (await driver.resolve(tag, None)).variant
        assert not (await driver.resolve(image, None)).variant
    finally:
        await driver.close()
        await docker.images.delete(tag, force=True)


async def test_a_release_whose_image_is_gone_is_followed_by_one_of_the_configured_image(
    docker: Any, image: str, project: str, rebuild: Build, owned: Callable[[], Owned], start_edge: StartEdge
) -> None:
    await rebuild("commit-1")
    edge = await start_edge(driver=owned())
    await edge.standin.fleet.close()
    await docker.images.delete(project, force=True)
    second = await rebuild("commit-2")
    again: Edge = await start_edge(driver=owned())
    assert (again.standin.fleet.release.number, again.standin.fleet.release.resolved.digest) == (2, second)
