"""Who may write to a new volume, with real containers: as root, as another user, and once the volume is theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from parity.checks.generic.test_volumes import refusals
from parity.report.engine import Engine, EngineError

pytestmark = pytest.mark.docker
BASE = "python:3.11-slim-bookworm"
USER = "10001"


@pytest.fixture
def engine() -> Engine:
    found = Engine()
    try:
        found.image(BASE)
    except EngineError as error:
        pytest.skip(str(error))
    return found


@contextmanager
def machine(engine: Engine, user: str, command: str) -> Iterator[str]:
    """The id of a Machine whose container has a new volume at /data, as the stand-in for Fly mounts one."""
    name = f"parity-test-{os.urandom(4).hex()}"
    body = {
        "Image": BASE,
        "User": user,
        "Cmd": ["sh", "-c", command],
        "Env": [f"FLY_MACHINE_ID={name}"],
        "HostConfig": {
            "Init": True,
            "NetworkMode": "none",
            "Mounts": [{"Type": "volume", "Source": name, "Target": "/data", "VolumeOptions": {"NoCopy": True}}],
        },
    }
    with ExitStack() as undo:
        undo.callback(lambda: engine.request("DELETE", f"/volumes/{name}?force=1"))
        made = json.loads(engine.request("POST", "/containers/create", json=body))["Id"]
        undo.callback(lambda: engine.request("DELETE", f"/containers/{made}?force=1"))
        engine.request("POST", f"/containers/{made}/start")
        yield name


@pytest.mark.parametrize(
    ("user", "command", "wrong"),
    [
        ("0", "sleep 100", []),
        (USER, "sleep 100", [f"a process of user {USER} cannot write to /data"]),
    ],
)
def test_a_new_volume_is_roots(engine: Engine, user: str, command: str, wrong: list[str]) -> None:
    with machine(engine, user, command) as name:
        found = refusals(name, "/data")
    assert [one.partition(":")[0] for one in found] == wrong


def test_a_volume_that_the_entrypoint_gave_to_the_apps_user_is_writable(engine: Engine) -> None:
    drop = f"chown {USER} /data && touch /data/.ready && exec setpriv --reuid={USER} --clear-groups sleep 100"
    with machine(engine, "0", drop) as name:
        container = engine.container_of(name)
        while engine.users_of(container) != [USER]:
            assert engine.get(f"/containers/{container}/json")["State"]["Running"], "the entrypoint failed"
        assert refusals(name, "/data") == []


def test_a_machine_that_is_not_there_is_an_error_of_the_harness(engine: Engine) -> None:
    with pytest.raises(EngineError, match="no container runs as Machine"):
        engine.container_of("parity-no-such-machine")
