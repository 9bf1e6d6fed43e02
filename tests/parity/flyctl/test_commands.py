"""Every command that people and promotions use, against the stand-in's API: flyctl where PATH has one, else its double.

``secrets unset``, ``scale count``, ``config save`` and ``release_command`` follow flyctl's sources, the rest was
recorded.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.request
from typing import Any

import pytest
from tests.parity.promote.standin_world import APP, FLY_TOML, World, shared_world

from parity.fly.machines.state import State

shared = pytest.fixture(scope="module")(shared_world)


@pytest.fixture
def world(shared: World) -> World:
    """The app serves ``old`` on one Machine."""
    if len(shared.machines()) > 1:
        shared.empty()
    if not shared.started or shared.serving() != "old":
        deploy(shared, "old")
        # A Machine that slept was changed without being started: a request wakes it.
        shared.until(lambda: shared.serving() == "old" and shared.started, "the old version serves")
    return shared


def pushed(world: World, commit: str, **more: Any) -> str:
    """Put an image into the registry; returns its reference by digest."""
    tagged = f"{world.environ()['FLY_REGISTRY_HOST']}/{APP}:{commit}"
    for command in (("image", "tag", world.image(commit, **more), tagged), ("image", "push", tagged)):
        subprocess.run(["docker", *command], env=world.environ(), check=True)
    shown = subprocess.run(
        ["docker", "buildx", "imagetools", "inspect", "--raw", tagged],
        env=world.environ(),
        capture_output=True,
        check=True,
    ).stdout
    return f"{tagged.rpartition(':')[0]}@sha256:{hashlib.sha256(shown).hexdigest()}"


def deploy(world: World, commit: str, *flags: str, top: str = "", wait_s: int = 120, **more: Any) -> str:
    path = world.folder / "deploy.toml"
    path.write_text(FLY_TOML.format(top=top))
    reference = pushed(world, commit, **more)
    arguments = ("--app", APP, "--config", str(path), "--image", reference, "--ha=false", "--deploy-retries", "0")
    return world.flyctl("deploy", *arguments, "--dns-checks=false", "--wait-timeout", f"{wait_s}s", *flags)


def fails(world: World, *arguments: Any, **more: Any) -> str:
    """A deploy that exits with 1; returns what it wrote to stderr."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        deploy(world, *arguments, **more)
    assert caught.value.returncode == 1
    return str(caught.value.stderr)


def shown(world: World, *arguments: str) -> Any:
    return json.loads(world.flyctl(*arguments, "--app", APP, "--json"))


@pytest.mark.parametrize("strategy", ["rolling", "immediate", "canary", "bluegreen"])
def test_each_strategy_puts_the_new_image_in_force_on_one_machine(world: World, strategy: str) -> None:
    (before,) = world.machines()
    deploy(world, f"by-{strategy}", "--strategy", strategy)
    world.until(lambda: world.serving() == f"by-{strategy}", "the new image serves")
    (after,) = world.machines()
    assert (after is before) == (strategy != "bluegreen")
    assert shown(world, "releases")[0]["Status"] == "complete"


@pytest.mark.parametrize(("strategy", "left"), [("rolling", "sick"), ("canary", "old"), ("bluegreen", "old")])
def test_an_unhealthy_image_fails_the_release_and_is_left_as_each_strategy_leaves_it(
    world: World, strategy: str, left: str
) -> None:
    assert "health" in fails(world, "sick", "--strategy", strategy, health=500, wait_s=8)
    assert shown(world, "releases")[0]["Status"] == "failed"
    (machine,) = world.machines()
    assert machine.spec.image.commit == world.image(left, **({"health": 500} if left == "sick" else {}))


def test_while_green_machines_are_not_healthy_the_blue_ones_alone_serve(world: World) -> None:
    release = world.fly.fleet.release
    assert fails(world, "sick", "--strategy", "bluegreen", health=500, wait_s=8)
    assert (world.serving(), world.fly.fleet.release) == ("old", release)


def test_a_release_command_runs_before_anything_is_replaced_and_its_failure_stops_the_deploy(world: World) -> None:
    mark = world.folder / "released"
    mark.unlink(missing_ok=True)
    top = f"[deploy]\nrelease_command = \"/bin/sh -c 'echo $RELEASE_COMMAND $COLOUR > {mark}'\"\n"
    deploy(world, "released", top=top)
    assert (mark.read_text(), world.serving()) == ("1 red\n", "released")
    failing = "[deploy]\nrelease_command = \"/bin/sh -c 'echo no table; exit 7'\"\n"
    assert "exited with non-zero status of 7" in fails(world, "worse", top=failing)
    assert world.serving() == "released"
    assert world.fly.fleet.workers.machines == {}


def test_secrets_are_staged_deployed_and_unset(world: World) -> None:
    world.flyctl("secrets", "import", "--app", APP, "--stage", stdin='A="one # two"\nB=plain\n')
    assert {one["name"] for one in shown(world, "secrets", "list")} >= {"A", "B"}
    (machine,) = world.machines()
    assert "A" not in machine.spec.environment
    world.flyctl("secrets", "unset", "B", "--app", APP)
    assert machine.spec.environment["A"] == "one # two"
    assert "B" not in machine.spec.environment
    world.flyctl("secrets", "unset", "A", "R2_BUCKET", "--app", APP)
    assert not {"A", "R2_BUCKET"} & set(machine.spec.environment)
    world.flyctl("secrets", "import", "--app", APP, stdin="R2_BUCKET=b\n")
    assert machine.spec.environment["R2_BUCKET"] == "b"


def test_a_machine_is_listed_stopped_started_and_its_checks_shown(world: World) -> None:
    (machine,) = shown(world, "machine", "list")
    world.flyctl("machine", "stop", machine["id"], "--app", APP)
    assert world.machines()[0].state is State.STOPPED
    world.flyctl("machine", "start", machine["id"], "--app", APP)
    assert world.started
    assert machine["id"] in world.flyctl("machine", "status", machine["id"], "--app", APP)
    world.until(lambda: world.machines()[0].healthy, "healthy")
    assert [one["status"] for one in shown(world, "checks", "list")[machine["id"]]] == ["passing"]


def test_a_stopped_machine_is_changed_by_a_deploy_and_neither_started_nor_checked(world: World) -> None:
    world.do(world.machines()[0].stop())
    deploy(world, "sick", health=500)
    assert world.machines()[0].state is State.STOPPED


def test_status_releases_logs_and_apps_are_shown(world: World) -> None:
    (machine,) = world.machines()
    assert [one["id"] for one in shown(world, "status")["Machines"]] == [machine.id]
    assert shown(world, "releases")[0]["ImageRef"].endswith(machine.spec.image.digest)
    world.driver.logs_of(machine.id).write_text("hello\n")
    assert "hello" in world.flyctl("logs", "--app", APP, "--no-tail")
    assert APP in world.flyctl("apps", "list")


def test_an_app_is_created_once(world: World) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        world.flyctl("apps", "create", APP)
    assert "already been taken" in caught.value.stderr
    world.flyctl("apps", "destroy", APP, "--yes")
    assert world.machines() == []
    assert APP not in world.flyctl("apps", "list")
    world.flyctl("apps", "create", APP)
    deploy(world, "old")
    assert world.serving() == "old"


def test_docker_is_logged_in_to_the_registry(world: World) -> None:
    world.flyctl("auth", "docker")
    logins = json.loads((world.folder / ".docker" / "config.json").read_text())["auths"]
    assert world.environ()["FLY_REGISTRY_HOST"] in logins


def test_the_configuration_is_validated_and_saved(world: World) -> None:
    path = world.folder / "saved.toml"
    world.flyctl("config", "save", "--app", APP, "--config", str(path), "--yes")
    world.flyctl("config", "validate", "--strict", "--app", APP, "--config", str(path))
    wrong = world.folder / "wrong.toml"
    wrong.write_text(FLY_TOML.format(top="kill_timeoutt = 3"))
    with pytest.raises(subprocess.CalledProcessError):
        world.flyctl("config", "validate", "--strict", "--app", APP, "--config", str(wrong))


def test_machines_are_cloned_and_destroyed_by_scale_count(world: World) -> None:
    world.flyctl("scale", "count", "3", "--app", APP, "--yes")
    world.until(lambda: [m.healthy for m in world.machines()] == [True] * 3, "three are healthy")
    assert {machine.spec.image.commit for machine in world.machines()} == {world.image("old")}
    world.flyctl("scale", "count", "1", "--app", APP, "--yes")
    assert len(world.machines()) == 1


def test_a_crash_loop_and_a_missing_image_are_told(world: World) -> None:
    assert "appears to be crashing" in fails(world, "crash", exit_code=3)
    path = world.folder / "deploy.toml"
    image = f"{world.environ()['FLY_REGISTRY_HOST']}/{APP}:nowhere"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        world.flyctl("deploy", "--app", APP, "--config", str(path), "--image", image)
    assert "could not find image" in caught.value.stderr


def test_what_machines_are_configured_with_is_acted_on(world: World) -> None:
    top = '[[restart]]\npolicy = "never"\n[checks.other]\ntype = "http"\npath = "/other"\ninterval = "2s"\n'
    deploy(world, "shaped", top=f'kill_signal = "SIGTERM"\n{top}')
    (machine,) = world.machines()
    assert (machine.config.kill_signal, machine.config.restart_policy.policy) == ("SIGTERM", "never")
    world.until(lambda: machine.healthy, "healthy")
    assert [state.name for state in machine.checks.states] == ["servicecheck-00-http-8080", "other"]


def test_nothing_that_these_commands_ask_for_is_missing(world: World) -> None:
    """Runs last: the API notes what it was asked for and does not have."""
    with urllib.request.urlopen(f"{world.admin_url}/fly/api-gaps") as answer:
        assert json.load(answer) == {}
