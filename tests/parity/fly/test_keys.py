"""Keys of fly.toml that shape a Machine: named checks, machine checks, files, a root that is kept."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from tests.parity.fly.support import QUICK, StartEdge, until

from parity.config.fly_toml import load_fly_config
from parity.fly.machines.driver import DriverError, MachineSpec
from parity.fly.machines.process import ProcessDriver
from parity.fly.machines.release import Release, ReleaseFailed
from parity.fly.specs import Specs

NAMED = '\n[checks.metrics]\ntype = "{type}"\npath = "/health"\ninterval = "2s"\ngrace_period = "1s"\n'


async def test_a_named_check_holds_up_a_deploy_and_no_request(start_edge: StartEdge) -> None:
    closed = NAMED.format(type="tcp") + "port = 9\n"
    edge = await start_edge(checks=QUICK, toml=closed, wait=False)
    fleet = edge.standin.fleet

    def checked(version: str) -> bool:
        """Whether the Machine runs this release, its service's check passes and the named check fails."""
        states = {state.name: str(state.health) for state in edge.machine.checks.states} if edge.machine.checks else {}
        known = edge.machine.spec.environment["FLY_MACHINE_VERSION"] == version
        return known and states == {"servicecheck-00-http-8080": "passing", "metrics": "critical"}

    await until(lambda: checked(fleet.release.version), "only the named check fails")
    assert (await edge.get("/show"))["env"]["FLY_APP_NAME"] == "tiny"
    deploying = asyncio.create_task(fleet.deploy(None, None, {}, wait=True, timeout_s=300))
    await until(lambda: fleet.release.number == 2 and checked(fleet.release.version), "the new one too")
    assert not deploying.done()
    assert (await edge.get("/show"))["env"]["FLY_APP_NAME"] == "tiny"
    await edge.machine.kill()
    with pytest.raises(ReleaseFailed, match="does not stay up"):
        await deploying


async def test_a_named_check_without_a_port_calls_the_services(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=QUICK, toml=NAMED.format(type="http"))
    assert [str(state.health) for state in edge.machine.checks.states] == ["passing", "passing"]


async def test_a_machine_check_that_fails_stops_the_deploy_and_knows_the_machine(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    shell = f"echo $FLY_TEST_COMMAND $FLY_TEST_MACHINE_IP >> {seen}; exit $BAD"
    toml = f'\n[[machine_checks]]\ncommand = ["/bin/sh", "-c", \'{shell}\']\n'
    edge = await start_edge(checks=QUICK, toml=toml, environment={"BAD": "0"})
    assert not seen.exists()  # only a deploy runs them
    await edge.standin.fleet.deploy(None, None, {}, wait=True, timeout_s=60)
    assert seen.read_text() == f"1 {edge.machine.address[0]}\n"
    with pytest.raises(ReleaseFailed, match=r"machine_checks .* ended with code 7"):
        await edge.standin.fleet.deploy(None, None, {"BAD": "7"}, wait=True, timeout_s=60)


@pytest.mark.parametrize(("persist", "found"), [("never", False), ("restart", True), ("always", True)])
async def test_a_root_filesystem_is_kept_over_a_restart_as_asked_and_never_over_a_deploy(
    start_edge: StartEdge, persist: str, found: bool
) -> None:
    edge = await start_edge(checks=QUICK, toml=f'persist_rootfs = "{persist}"\n')
    assert (await edge.get("/write"))["existed"] is False
    await edge.machine.stop()
    await edge.machine.start()
    await until(lambda: edge.machine.healthy, "healthy")
    assert (await edge.get("/write"))["existed"] is found
    await edge.standin.fleet.deploy(None, None, {"COLOUR": "blue"}, wait=True, timeout_s=60)
    assert (await edge.get("/write"))["existed"] is False


class Images(ProcessDriver):
    """A driver to which fly.toml's files apply."""

    runs_images = True


def spec(tmp_path: Path, files: str, environment: dict[str, str] | None = None) -> MachineSpec:
    path = tmp_path / "fly.toml"
    path.write_text(f'app = "a"\n[http_service]\n{files}')
    (tmp_path / "local.txt").write_text("from a file")
    driver = Images(tmp_path, ".", [], tmp_path / "state")
    specs = Specs(driver, environment or {}, {}, tmp_path)
    return specs.of(load_fly_config(path), "m1", 1, Release(1))


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ('local_path = "local.txt"', b"from a file"),
        (f'raw_value = "{base64.b64encode(b"raw").decode()}"', b"raw"),
        ('secret_name = "KEY"', b"secret"),
    ],
)
def test_a_file_has_the_content_of_its_source(tmp_path: Path, source: str, content: bytes) -> None:
    secrets = {"KEY": base64.b64encode(b"secret").decode()}
    made = spec(tmp_path, f'[[files]]\nguest_path = "/etc/x"\n{source}\n', secrets)
    assert made.files == (("/etc/x", content),)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('local_path = "none.txt"', "local_path .*none.txt cannot be read"),
        ('secret_name = "KEY"', "there is no secret KEY"),
        ('raw_value = "not base64!"', "raw_value is not base64"),
    ],
)
def test_a_file_without_its_content_names_the_key(tmp_path: Path, source: str, problem: str) -> None:
    with pytest.raises(DriverError, match=rf"\[\[files\]\] /etc/x: {problem}"):
        spec(tmp_path, f'[[files]]\nguest_path = "/etc/x"\n{source}\n')


def test_exec_replaces_entrypoint_and_command(tmp_path: Path) -> None:
    made = spec(tmp_path, '[experimental]\nexec = ["/bin/run", "it"]\ncmd = ["serve"]\nentrypoint = ["/init"]\n')
    assert (made.entrypoint, made.command) == (("/bin/run", "it"), ())
