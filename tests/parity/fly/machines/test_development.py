"""`parity dev` with containers: the image's digest stays, sources of the checkout lie over it, read-only."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.parity.debug.dap import attached, line_of
from tests.parity.fly.machines.engine import CA_PATH, containers
from tests.parity.fly.support import Edge, StartEdge, until

from parity.fly.development import Development, Sources
from parity.fly.machines.docker import DockerDriver
from parity.fly.settings import load_fly_settings

pytestmark = pytest.mark.docker
SERVER = Path(__file__).parents[1] / "image/server.py"
NOTHING = "answer: dict[str, object] = {}"


async def no_functions() -> str:
    return ""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The checkout's copy of what the image holds as /server.py."""
    path = tmp_path / "checkout/app/server.py"
    path.parent.mkdir(parents=True)
    shutil.copy(SERVER, path)
    return path


@pytest.fixture
async def edge(image: str, project: str, tmp_path: Path, source: Path, start_edge: StartEdge) -> Edge:
    (tmp_path / "ca.pem").write_text("the trust anchor")
    settings = replace(load_fly_settings({}), project=project)
    root = source.parents[1]
    driver = DockerDriver(image, tmp_path / "state", settings, tmp_path / "ca.pem", CA_PATH, root)
    return await start_edge(driver=driver, mounts=(("app/server.py", "/server.py"),))


@pytest.fixture
async def development(edge: Edge, source: Path) -> AsyncIterator[Development]:
    found = Development(edge.standin.fleet, Sources(source.parents[1], (source,)), no_functions)
    await found.switch(on=True, timeout_s=120)
    yield found
    await found.close()


async def test_an_edit_is_served_by_a_container_of_the_same_image_and_leaving_puts_the_image_back(
    edge: Edge,
    development: Development,
    source: Path,
    docker: Any,
    project: str,
    record_property: Callable[[str, object], None],
) -> None:
    digest = edge.machine.spec.image.digest
    assert await edge.get("/says") == {}
    draft = source.with_suffix(".draft")
    draft.write_text(SERVER.read_text().replace(NOTHING, f'{NOTHING[:-2]}{{"says": "two"}}'))
    draft.replace(source)

    async def served() -> bool:
        return bool(await edge.get("/says") == {"says": "two"})

    await until(served, "the edit is served")
    await until(lambda: development.seconds is not None, "the time is told")
    record_property("edit to served, containers, s", development.seconds)
    (shown,) = await containers(docker, project)
    assert shown["Image"] == digest
    (mount,) = shown["Mounts"]
    assert (mount["Destination"], mount["RW"]) == ("/server.py", False)
    assert edge.machine.as_json()["dev"] is True

    await development.switch(on=False, timeout_s=120)
    assert await edge.get("/says") == {}
    (shown,) = await containers(docker, project)
    assert (shown["Image"], shown["Mounts"]) == (digest, [])
    assert edge.machine.as_json()["dev"] is False


async def test_a_mistake_in_the_tree_leaves_no_machine_and_shows_its_lines(
    edge: Edge, development: Development, source: Path
) -> None:
    source.write_text("def broken(:\n")
    await until(lambda: edge.machine.given_up, "the Machine is given up")

    async def shown() -> bool:
        return "SyntaxError" in str((await development.as_json())["problem"])

    await until(shown, "its lines are shown")


async def test_a_debugger_attaches_to_a_container_whose_image_knows_nothing_of_it(
    edge: Edge, development: Development, source: Path, docker: Any, project: str
) -> None:
    digest = edge.machine.spec.image.digest
    await development.switch(on=True, timeout_s=120, debug=True)
    port = await development.relay.open("127.0.0.1", 0)
    await edge.get("/says")
    line = line_of(source, "body = json.dumps(answer)")
    mappings = [{"localRoot": str(source.parent), "remoteRoot": "/"}]
    async with attached(port, source, line, pathMappings=mappings) as client:
        asked = asyncio.create_task(edge.get("/says"))
        assert await client.where() == (str(source), line)
        await client.go_on()
        assert await asked == {}
    (shown,) = await containers(docker, project)
    assert shown["Image"] == digest
    await development.switch(on=False, timeout_s=120)
    assert (await edge.get("/env")).get("PYTHONPATH") is None


async def test_an_image_that_is_deployed_by_flyctl_is_run_as_it_is(
    edge: Edge, development: Development, image: str
) -> None:
    release = await edge.standin.fleet.candidate(image, {})
    edge.standin.fleet.adopt(release)
    assert development.on
    assert not release.resolved.dev
