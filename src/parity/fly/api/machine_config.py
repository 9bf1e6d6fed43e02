"""Reads the configuration of a Machine that flyctl sends to the Machines API (superfly/fly-go, machine_types.go).

It is converted to the type that fly.toml is read into, so that Machines have one type of configuration. Parts that the
stand-in ignores are reported: the edge uses the settings of the stand-in's fly.toml for every Machine.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from parity.config.fly_toml import FlyConfig

# The process groups that flyctl gives to Machines which run one command (machine_types.go).
ONE_COMMAND = frozenset({"fly_app_release_command", "fly_app_test_machine_command", "fly_app_console"})
# Fields of the configuration that have an effect, or need none.
_KNOWN = frozenset(
    {
        "env", "init", "guest", "metadata", "services", "checks", "mounts", "files", "restart", "stop_config", "image",
        "auto_destroy", "dns", "metrics", "size", "disable_machine_autostart",
    }
)  # fmt: skip
_SIZE_IGNORED = ("gpu_kind", "gpus", "kernel_args", "host_dedication_id")
_RESTARTS = {"no": "never", "on-failure": "on-failure", "always": "always"}


class BadConfig(Exception):
    """The configuration cannot be understood; Fly answers such a request with 400."""


@dataclass(frozen=True)
class Configured:
    """``config`` is the Machine's configuration, ``env`` its environment without secrets and Fly's own variables.

    ``ignored`` names the fields without effect. ``one_command``: the Machine runs one command and ends.
    """

    config: FlyConfig
    env: dict[str, str]
    group: str
    one_command: bool
    auto_destroy: bool
    ignored: tuple[str, ...]


def configured(sent: dict[str, Any], base: FlyConfig) -> Configured:
    """Read a Machine's configuration; ``base`` is the stand-in's fly.toml. Raises ``BadConfig``."""
    try:
        return _configured(sent, base)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadConfig(f"invalid_argument: config: {where}: {first['msg']}") from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadConfig(f"invalid_argument: config cannot be read: {error!r}") from None


def _configured(sent: dict[str, Any], base: FlyConfig) -> Configured:
    group = str((sent.get("metadata") or {}).get("fly_process_group") or base.group)
    init, guest = sent.get("init") or {}, sent.get("guest") or {}
    stop, restart = sent.get("stop_config") or {}, sent.get("restart") or {}
    services = sent.get("services") or []
    serving = next((one for one in services if _serves_http(one)), None)
    service: dict[str, Any] = {
        **base.service.model_dump(by_alias=True, exclude={"checks", "tcp_checks", "machine_checks"}),
        "processes": [group],
        "internal_port": (serving or {}).get("internal_port", base.service.internal_port),
        "checks": [_http(check) for check in (serving or {}).get("checks") or [] if check.get("type") == "http"],
        "tcp_checks": [_timing(check) for check in (serving or {}).get("checks") or [] if check.get("type") == "tcp"],
    }
    data: dict[str, Any] = {
        "app": base.app,
        "primary_region": base.primary_region,
        "http_service": service,
        "vm": [_size(guest)] if guest else base.model_dump(by_alias=True)["vm"],
        "kill_signal": stop.get("signal") or "SIGINT",
        "kill_timeout": _duration(stop.get("timeout"), "5s"),
        "swap_size_mb": init.get("swap_size_mb") or 0,
        "restart": [_restart(restart)] if restart else [],
        "mounts": [_mount(one) for one in _list(sent, "mounts")],
        "processes": {group: shlex.join(init["cmd"])} if init.get("cmd") else {},
        "experimental": {name: init[name] for name in ("entrypoint", "exec") if init.get(name)},
        "files": [_file(one) for one in _list(sent, "files")],
        "checks": {name: _named(check) for name, check in (sent.get("checks") or {}).items()},
    }
    config = FlyConfig.model_validate(data)
    env = {str(name): str(value) for name, value in (sent.get("env") or {}).items()}
    return Configured(
        config,
        env,
        group,
        one_command=group in ONE_COMMAND,
        auto_destroy=bool(sent.get("auto_destroy")),
        ignored=(*_ignored(sent, services, serving), *_edge_differences(serving, base)),
    )


def _list(sent: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return list(sent.get(name) or [])


def _serves_http(service: dict[str, Any]) -> bool:
    return any("http" in (port.get("handlers") or []) for port in service.get("ports") or [])


def _duration(value: Any, default: str) -> Any:
    """flyctl writes durations as text; a bare number is nanoseconds, Go's own unit."""
    if value in (None, ""):
        return default
    return f"{int(value) // 1_000_000}ms" if isinstance(value, int | float) else value


def _timing(check: dict[str, Any]) -> dict[str, Any]:
    names = ("interval", "timeout", "grace_period")
    return {name: _duration(check[name], "") for name in names if check.get(name) is not None}


def _http(check: dict[str, Any]) -> dict[str, Any]:
    names = ("method", "path", "protocol", "tls_skip_verify", "tls_server_name")
    headers = {one["name"]: ", ".join(one.get("values") or []) for one in check.get("headers") or []}
    found = {name: check[name] for name in names if check.get(name) is not None}
    return {**_timing(check), **found, **({"headers": headers} if headers else {})}


def _named(check: dict[str, Any]) -> dict[str, Any]:
    return {"type": check.get("type") or "tcp", "port": check.get("port"), **_http(check)}


def _size(guest: dict[str, Any]) -> dict[str, Any]:
    names = ("cpu_kind", "cpus", "memory_mb", "persist_rootfs")
    return {name: guest[name] for name in names if guest.get(name)}


def _restart(restart: dict[str, Any]) -> dict[str, Any]:
    policy = {"policy": _RESTARTS.get(str(restart.get("policy")), "on-failure")}
    return {**policy, **({"retries": restart["max_retries"]} if restart.get("max_retries") else {})}


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    return {"source": mount.get("name") or mount["volume"], "destination": mount["path"]}


def _file(file: dict[str, Any]) -> dict[str, Any]:
    names = ("guest_path", "raw_value", "secret_name")
    return {name: file[name] for name in names if file.get(name)}


def _ignored(sent: dict[str, Any], services: list[dict[str, Any]], serving: dict[str, Any] | None) -> list[str]:
    """The paths of the configuration's fields that have no effect."""
    found = [name for name, value in sent.items() if value and name not in _KNOWN]
    guest = sent.get("guest") or {}
    found += [f"guest.{name}" for name in _SIZE_IGNORED if guest.get(name)]
    found += [f"services.{number}" for number, one in enumerate(services) if one is not serving]
    return found


def _edge_differences(serving: dict[str, Any] | None, base: FlyConfig) -> list[str]:
    """Edge settings of the Machine's service that differ from the stand-in's fly.toml."""
    if serving is None:
        return []
    service, found = base.service, []
    autostop = serving.get("autostop")
    stop = ("stop" if autostop else "off") if autostop is None or isinstance(autostop, bool) else autostop
    if stop != service.auto_stop_machines:
        found.append(f"services.autostop: {stop}, here {service.auto_stop_machines}")
    start = serving.get("autostart")
    if start is not None and start != service.auto_start_machines:
        found.append(f"services.autostart: {start}, here {service.auto_start_machines}")
    concurrency = serving.get("concurrency") or {}
    for name in ("soft_limit", "hard_limit"):
        wanted, here = concurrency.get(name), getattr(service.concurrency, name)
        if wanted and wanted != here:
            found.append(f"services.concurrency.{name}: {wanted}, here {here}")
    return found
