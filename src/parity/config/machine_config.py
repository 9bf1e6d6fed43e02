"""Builds a Machine's configuration from ``fly.toml`` like flyctl (superfly/flyctl, internal/appconfig/machines.go)."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

from parity.config.fly_tables import Check, File, NamedCheck, TcpCheck
from parity.config.fly_toml import FlyConfig

_RESTARTS = {"never": "no", "on-failure": "on-failure", "always": "always"}


def machine_config(config: FlyConfig, image: str, root: Path = Path(), *, serves: bool = True) -> dict[str, Any]:
    """The configuration of a Machine of ``config``'s group. ``serves``: it is the group of the HTTP service.

    ``root`` is where files of ``local_path`` lie.
    """
    vm, group = config.machine, config.group
    made: dict[str, Any] = {
        "env": {**config.env, "FLY_PROCESS_GROUP": group, "PRIMARY_REGION": config.primary_region},
        "init": _init(config),
        "guest": {"cpu_kind": vm.cpu_kind, "cpus": vm.cpus, "memory_mb": vm.memory_mb},
        "metadata": {"fly_platform_version": "v2", "fly_process_group": group},
        "stop_config": {"timeout": _text(config.kill_timeout_s), "signal": config.kill_signal},
        "image": image,
    }
    if vm.persist_rootfs != "never":
        made["guest"]["persist_rootfs"] = vm.persist_rootfs
    if serves:
        made["services"] = [_service(config)]
    if config.group_checks:
        made["checks"] = {name: _named(check) for name, check in config.group_checks.items()}
    if config.volumes:
        made["mounts"] = [{"name": mount.source, "path": mount.destination} for mount in config.volumes]
    if config.group_files:
        made["files"] = [_file(file, root) for file in config.group_files]
    if config.restart:
        restart = config.restart_policy
        made["restart"] = {"policy": _RESTARTS[restart.policy], "max_retries": restart.max_retries}
    return made


def release_command_config(config: FlyConfig, image: str) -> dict[str, Any]:
    """The configuration of the Machine that runs ``[deploy] release_command``."""
    group = "fly_app_release_command"
    vm = config.deploy.release_command_vm or config.machine
    return {
        "env": {
            **config.env,
            "RELEASE_COMMAND": "1",
            "FLY_PROCESS_GROUP": group,
            "PRIMARY_REGION": config.primary_region,
        },
        "init": {"cmd": shlex.split(config.deploy.release_command)},
        "guest": {"cpu_kind": vm.cpu_kind, "cpus": vm.cpus, "memory_mb": vm.memory_mb},
        "metadata": {"fly_platform_version": "v2", "fly_process_group": group},
        "restart": {"policy": "no"},
        "auto_destroy": True,
        "dns": {"skip_registration": True},
        "image": image,
    }


def _init(config: FlyConfig) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if config.group in config.processes:
        made["cmd"] = shlex.split(config.processes[config.group])
    elif config.experimental.cmd:
        made["cmd"] = config.experimental.cmd
    for name in ("entrypoint", "exec"):
        if words := getattr(config.experimental, name):
            made[name] = words
    if config.swap_size_mb:
        made["swap_size_mb"] = config.swap_size_mb
    return made


def _service(config: FlyConfig) -> dict[str, Any]:
    service = config.service
    concurrency: dict[str, Any] = {"type": service.concurrency.type, "soft_limit": service.concurrency.soft_limit}
    if service.concurrency.hard_limit:
        concurrency["hard_limit"] = service.concurrency.hard_limit
    return {
        "protocol": "tcp",
        "internal_port": service.internal_port,
        "autostop": service.auto_stop_machines,
        "autostart": service.auto_start_machines,
        "min_machines_running": service.min_machines_running,
        "ports": [
            {"port": 80, "handlers": ["http"], "force_https": service.force_https},
            {"port": 443, "handlers": ["http", "tls"]},
        ],
        "checks": [
            *({"type": "http", **_http(check)} for check in service.checks),
            *({"type": "tcp", **_timing(check)} for check in service.tcp_checks),
        ],
        "concurrency": concurrency,
        "force_instance_key": None,
    }


def _text(seconds: float) -> str:
    return f"{seconds:g}s"


def _timing(check: Check | TcpCheck) -> dict[str, Any]:
    return {
        "interval": _text(check.interval_s),
        "timeout": _text(check.timeout_s),
        "grace_period": _text(check.grace_period_s),
    }


def _http(check: Check) -> dict[str, Any]:
    made = {**_timing(check), "method": check.method, "path": check.path, "protocol": check.protocol}
    if check.tls_skip_verify:
        made["tls_skip_verify"] = True
    if check.tls_server_name:
        made["tls_server_name"] = check.tls_server_name
    if check.headers:
        made["headers"] = [{"name": name, "values": [value]} for name, value in check.headers.items()]
    return made


def _named(check: NamedCheck) -> dict[str, Any]:
    inner = _http(check) if check.type == "http" else _timing(check)
    return {"type": check.type, **({"port": check.port} if check.port else {}), **inner}


def _file(file: File, root: Path) -> dict[str, Any]:
    if file.secret_name:
        return {"guest_path": file.guest_path, "secret_name": file.secret_name}
    raw = file.raw_value
    if file.local_path:
        raw = base64.b64encode((root / file.local_path).read_bytes()).decode()
    return {"guest_path": file.guest_path, "raw_value": raw}
