"""A Machine's configuration as flyctl sends it, and as it makes it of fly.toml: both ways lead to the same Machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parity.config.fly_toml import FlyConfig, load_fly_config
from parity.config.machine_config import machine_config, release_command_config
from parity.fly.api.machine_config import BadConfig, configured

FLY_TOML = """
app = "tiny"
primary_region = "lax"
kill_signal = "SIGTERM"
kill_timeout = "30s"
swap_size_mb = 128
[deploy]
release_command = "migrate --all"
[deploy.release_command_vm]
memory = "1gb"
[env]
COLOUR = "red"
[processes]
web = "serve --port 8080"
worker = "work"
[experimental]
entrypoint = ["/init"]
[http_service]
processes = ["web"]
internal_port = 9000
auto_stop_machines = "suspend"
[http_service.concurrency]
soft_limit = 7
[[http_service.checks]]
path = "/h"
method = "head"
interval = "20s"
headers = {X-A = "1"}
[[http_service.tcp_checks]]
timeout = "3s"
[checks.metrics]
type = "http"
port = 9100
path = "/m"
processes = ["web"]
[[vm]]
size = "performance-2x"
persist_rootfs = "restart"
[[restart]]
policy = "always"
retries = 4
[[mounts]]
source = "data"
destination = "/data"
[[files]]
guest_path = "/etc/key"
secret_name = "KEY"
[[files]]
guest_path = "/etc/raw"
raw_value = "eA=="
"""


HTTP = [{"port": 80, "handlers": ["http"]}]


@pytest.fixture
def base(tmp_path: Path) -> FlyConfig:
    (tmp_path / "fly.toml").write_text(FLY_TOML)
    return load_fly_config(tmp_path / "fly.toml")


def test_what_flyctl_makes_of_fly_toml_means_the_same_as_fly_toml(base: FlyConfig) -> None:
    found = configured(machine_config(base, "r/tiny:v1"), base)
    config = found.config
    assert (found.group, found.ignored, found.one_command) == ("web", (), False)
    assert found.env == {"COLOUR": "red", "FLY_PROCESS_GROUP": "web", "PRIMARY_REGION": "lax"}
    assert (config.kill_signal, config.kill_timeout_s, config.swap_size_mb) == ("SIGTERM", 30, 128)
    assert (config.machine.cpu_kind, config.machine.cpus, config.machine.memory_mb) == ("performance", 2, 4096)
    assert config.machine.persist_rootfs == "restart"
    assert (config.restart_policy.policy, config.restart_policy.max_retries) == ("always", 4)
    assert (config.processes, config.experimental.entrypoint) == ({"web": "serve --port 8080"}, ["/init"])
    assert config.service.internal_port == 9000
    assert (config.service.checks, config.service.tcp_checks) == (base.service.checks, base.service.tcp_checks)
    assert config.group_checks["metrics"].port == 9100
    assert [(mount.source, mount.destination) for mount in config.volumes] == [("data", "/data")]
    assert [(file.guest_path, file.secret_name, file.raw_value) for file in config.group_files] == [
        ("/etc/key", "KEY", ""),
        ("/etc/raw", "", "eA=="),
    ]


def test_a_worker_has_no_service_and_its_own_command(base: FlyConfig) -> None:
    found = configured(machine_config(base.of_group("worker"), "r/tiny:v1", serves=False), base)
    assert (found.group, found.config.service.checks) == ("worker", [])
    assert found.config.processes == {"worker": "work"}


def test_the_release_command_runs_once_on_the_size_that_was_asked_for(base: FlyConfig) -> None:
    found = configured(release_command_config(base, "r/tiny:v1"), base)
    assert (found.one_command, found.auto_destroy) == (True, True)
    assert (found.config.processes[found.group], found.config.machine.memory_mb) == ("migrate --all", 1024)
    assert found.config.restart_policy.policy == "never"


@pytest.mark.parametrize(
    ("sent", "ignored"),
    [
        ({"schedule": "daily"}, ["schedule"]),
        ({"guest": {"gpu_kind": "l40s"}}, ["guest.gpu_kind"]),
        ({"services": [{"protocol": "udp", "internal_port": 53, "ports": [{"port": 53}]}]}, ["services.0"]),
        (
            {"services": [{"ports": HTTP, "autostop": True, "autostart": False}]},
            ["services.autostop: stop, here suspend", "services.autostart: False, here True"],
        ),
        (
            {
                "services": [
                    {"ports": [{"handlers": ["http"]}], "autostop": "suspend", "concurrency": {"soft_limit": 9}}
                ]
            },
            ["services.concurrency.soft_limit: 9, here 7"],
        ),
    ],
)
def test_what_is_not_acted_on_is_named(base: FlyConfig, sent: dict[str, Any], ignored: list[str]) -> None:
    assert list(configured({"image": "r/tiny:v1", **sent}, base).ignored) == ignored


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({"guest": {"cpus": "many"}}, "vm.0.cpus"),
        ({"mounts": [{"path": "/x"}]}, "volume"),
        ({"stop_config": {"signal": "SIGNAL"}}, "kill_signal"),
        ({"services": 7}, "cannot be read"),
    ],
)
def test_a_configuration_that_cannot_be_understood_is_refused(
    base: FlyConfig, sent: dict[str, Any], where: str
) -> None:
    with pytest.raises(BadConfig, match=where):
        configured({"image": "r/tiny:v1", **sent}, base)


def test_a_number_of_nanoseconds_is_a_duration(base: FlyConfig) -> None:
    assert configured({"stop_config": {"timeout": 7_000_000_000}}, base).config.kill_timeout_s == 7
