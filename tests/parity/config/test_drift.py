"""Where Machines differ from fly.toml: compared with what the Machines API shows."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from parity.config.drift import drift
from parity.config.fly_toml import FlyConfig
from parity.config.machine_config import machine_config


def fly(**changes: object) -> FlyConfig:
    service = {
        "internal_port": 8000,
        "processes": ["web"],
        "checks": [{"path": "/up", "interval": "10s", "timeout": "3s"}],
    }
    given: dict[str, object] = {
        "app": "notes",
        "http_service": service,
        "processes": {"web": "serve --fast", "worker": "work"},
        "vm": [{"memory": "512mb"}],
        "mounts": [{"source": "notes", "destination": "/notes", "processes": ["web"]}],
        "files": [{"guest_path": "/etc/notes", "local_path": "not-there"}],
    }
    return FlyConfig.model_validate({**given, **changes})


def machines(config: FlyConfig) -> list[dict[str, Any]]:
    """One of each group, as the Machines API shows them: with defaults and ids that fly.toml does not have."""
    plain = config.model_copy(update={"files": []})
    found = []
    for group in (config.group, *config.other_groups):
        made = machine_config(plain.of_group(group), "image", serves=False)
        if group == config.group:
            made = machine_config(plain, "image", serves=True)
        made["guest"]["gpu_kind"] = ""
        for mount in made.get("mounts", []):
            mount["volume"] = "vol_1"
        found.append({"id": f"m-{group}", "config": made})
    return found


def test_machines_of_this_very_file_do_not_differ() -> None:
    assert drift(fly(), machines(fly())) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"vm": [{"memory": "1gb"}]},
            ["Machine m-web (web) has guest.memory_mb 512, and fly.toml says 1024",
             "Machine m-worker (worker) has guest.memory_mb 512, and fly.toml says 1024"],
        ),
        (
            {"processes": {"web": "serve --fast", "worker": "toil"}},
            ['Machine m-worker (worker) has init.cmd.0 "work", and fly.toml says "toil"'],
        ),
        (
            {"processes": {"web": "serve --fast"}},
            ["Machine m-worker runs the process group worker, which fly.toml does not have"],
        ),
        (
            {"processes": {"web": "serve --fast", "worker": "work", "mail": "send"}},
            ["no Machine runs the process group mail of fly.toml"],
        ),
        (
            {"kill_signal": "SIGTERM"},
            ['Machine m-web (web) has stop_config.signal "SIGINT", and fly.toml says "SIGTERM"',
             'Machine m-worker (worker) has stop_config.signal "SIGINT", and fly.toml says "SIGTERM"'],
        ),
        (
            {"mounts": []},
            ['Machine m-web (web) has mounts [{"name": "notes", "path": "/notes", "volume": "vol_1"}], and fly.toml'
             " says nothing"],
        ),
        (
            {"http_service": {"internal_port": 9000, "processes": ["web"]}},
            ["Machine m-web (web) has services.0.internal_port 8000, and fly.toml says 9000",
             'Machine m-web (web) has services.0.checks [{"type": "http", "interval": "10s", "timeout": "3s",'
             ' "grace_period": "10s", "method": "get", "path": "/up", "protocol": "http"}], and fly.toml says nothing'],
        ),
    ],
)  # fmt: skip
def test_each_difference_is_named(changes: dict[str, object], said: list[str]) -> None:
    found = drift(fly(**changes), machines(fly()))
    assert [" ".join(one.split()) for one in found] == said


def test_a_size_that_fly_toml_does_not_name_stays_as_it_is_and_is_no_difference() -> None:
    scaled = copy.deepcopy(machines(fly(vm=[])))
    for machine in scaled:
        machine["config"]["guest"]["memory_mb"] = 2048
    assert drift(fly(vm=[]), scaled) == []
    assert drift(fly(), scaled) != []


def test_a_machine_that_runs_the_release_command_is_no_difference() -> None:
    release = {"id": "m-release", "config": {"metadata": {"fly_process_group": "fly_app_release_command"}}}
    assert drift(fly(), [*machines(fly()), release]) == []


def test_only_the_named_parts_are_compared() -> None:
    changed = fly(kill_signal="SIGTERM", vm=[{"memory": "1gb"}])
    assert {one.split()[4] for one in drift(changed, machines(fly()), ("guest",))} == {"guest.memory_mb"}
