"""The keys of ``fly.toml`` that flyctl knows and the stand-in ignores, and the normalization of other spellings.

Source: superfly/flyctl, internal/appconfig, and superfly/docs, reference/configuration (read November 2026). A deploy
ignores misspelt keys silently; only ``fly config validate --strict`` refuses them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GPU_SIZES = ("a10", "a100-40gb", "a100-80gb", "l40s")
# Presets of [[vm]] size: kind, vCPUs, MiB (superfly/fly-go, machine_types.go). GPUs are listed as not reproduced.
SIZES: dict[str, tuple[str, int, int]] = {
    **{f"shared-cpu-{n}x": ("shared", n, n * 256) for n in (1, 2, 4, 6, 8)},
    **{f"performance-{n}x": ("performance", n, n * 2048) for n in (1, 2, 4, 6, 8, 10, 12, 14, 16)},
    **dict.fromkeys(GPU_SIZES, ("performance", 8, 32768)),
}
# The size of a Machine with a GPU that names none (``DefaultGPUVMSize``).
GPU_DEFAULT = "performance-8x"

# Keys at the top of the file that are easily put below a table's header, where flyctl drops them.
TOP_LEVEL = frozenset({"app", "primary_region", "kill_signal", "kill_timeout", "swap_size_mb", "console_command"})


@dataclass(frozen=True)
class NotReproduced:
    """A key that flyctl acts on and the stand-in does not. ``loud``: the app behaves differently without it."""

    key: str
    on_fly: str
    loud: bool = False

    def __str__(self) -> str:
        return f"{self.key}: {self.on_fly}"


# By path in the file; a table's name stands for everything in it. In the order in which they are told.
NOT_REPRODUCED: tuple[NotReproduced, ...] = (
    NotReproduced(
        "machine_config", "is the Machine's configuration, containers included, below the other keys", loud=True
    ),
    NotReproduced("statics", "serves files at the edge: here the app gets these requests", loud=True),
    NotReproduced("container", "names the container that gets the image", loud=True),
    NotReproduced("experimental.machine_config", "is the Machine's configuration, below the other keys", loud=True),
    NotReproduced("experimental.attached", "exports secrets of attached services into the environment", loud=True),
    NotReproduced("deploy.seed_command", "runs once, when `fly launch` deploys: a deploy never runs it"),
    NotReproduced("vm.gpu_kind", "gives the Machine a GPU", loud=True),
    NotReproduced("vm.gpus", "gives the Machine GPUs", loud=True),
    NotReproduced("vm.kernel_args", "boots the kernel with these parameters"),
    NotReproduced("vm.host_dedication_id", "places the Machine on a dedicated host"),
    NotReproduced("vm.compatible_regions", "limits where the Machine may be placed"),
    NotReproduced("host_dedication_id", "places Machines on a dedicated host"),
    NotReproduced("http_service.tls_options", "limits TLS versions and protocols"),
    NotReproduced("http_service.checks.restart_limit", "had a meaning for apps of the first platform only"),
    NotReproduced("mounts.initial_size", "size of a new volume: here a volume has no limit"),
    NotReproduced("mounts.snapshot_retention", "how long snapshots are kept"),
    NotReproduced("mounts.scheduled_snapshots", "daily snapshots"),
    NotReproduced("mounts.auto_extend_size_threshold", "extends a full volume"),
    NotReproduced("mounts.auto_extend_size_increment", "extends a full volume"),
    NotReproduced("mounts.auto_extend_size_limit", "extends a full volume"),
    NotReproduced("experimental.auto_rollback", "has no effect in flyctl v0.4 either"),
    NotReproduced("experimental.enable_consul", "attaches Consul"),
    NotReproduced("experimental.enable_etcd", "attaches etcd"),
    NotReproduced("experimental.lazy_load_images", "loads layers on demand"),
    NotReproduced("experimental.use_zstd", "compresses layers with zstd"),
    NotReproduced("swap_size_mb", "gives the Machine swap: here it has none, and may not suspend either"),
    NotReproduced("build", "how flyctl builds; a promotion ships the image that was checked"),
    NotReproduced("console_command", "what `fly console` runs"),
    NotReproduced("metrics", "where Fly's Prometheus scrapes the app"),
)
# They stay in the model, which acts on a part of their meaning or needs to know that they are there.
_KEPT = frozenset({"swap_size_mb"})


def normalized(data: dict[str, Any]) -> dict[str, Any]:
    """The file's table with flyctl's other spellings turned into one: tables for lists, plain values of ``[env]``."""
    data = dict(data)
    for name in ("vm", "mounts", "restart", "metrics", "files", "services"):
        if isinstance(data.get(name), dict):
            data[name] = [data[name]]
    if isinstance(data.get("vm"), list):
        data["vm"] = [_sized(vm) for vm in data["vm"]]
    env = data.get("env")
    if isinstance(env, dict):
        data["env"] = {name: _env_text(value) for name, value in env.items()}
    return data


def _sized(vm: object) -> object:
    """A Machine with a GPU and without a size has flyctl's default for it."""
    if isinstance(vm, dict) and vm.get("gpu_kind") and not vm.get("size"):
        return {**vm, "size": GPU_DEFAULT}
    return vm


def _env_text(value: object) -> object:
    """A number or boolean as flyctl writes it into the environment; anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return value


def take_out(data: dict[str, Any]) -> tuple[dict[str, Any], list[NotReproduced]]:
    """``data`` without the keys that are not reproduced, and those that it had."""
    found: list[NotReproduced] = []
    for entry in NOT_REPRODUCED:
        keep = entry.key in _KEPT
        changed, had = _without(data, entry.key.split("."), keep)
        if had:
            found.append(entry)
            data = changed
    return data, found


def _without(table: Any, path: list[str], keep: bool) -> tuple[Any, bool]:
    if isinstance(table, list):
        parts = [_without(item, path, keep) for item in table]
        return [item for item, _ in parts], any(had for _, had in parts)
    if not isinstance(table, dict) or path[0] not in table:
        return table, False
    if len(path) == 1:
        if keep:
            return table, _asks(table[path[0]])
        return {name: value for name, value in table.items() if name != path[0]}, True
    inner, had = _without(table[path[0]], path[1:], keep)
    return {**table, path[0]: inner}, had


def _asks(value: object) -> bool:
    """Whether a value asks for something: neither off nor the default."""
    return value not in (False, 0, "", "never", None)


def service_as_http(services: list[dict[str, Any]], refuse: Callable[[str, str], Exception]) -> dict[str, Any]:
    """``[[services]]`` as ``[http_service]``: exactly one of them may serve HTTP on 80 or 443.

    ``refuse`` makes the error for a place in the file and a problem.
    """
    http = [
        (number, service)
        for number, service in enumerate(services)
        if any("http" in port.get("handlers", []) for port in service.get("ports", []))
    ]
    if len(http) != 1 or len(services) != 1:
        problem = f"{len(services)} services, of which {len(http)} serve HTTP: the stand-in has one HTTP service"
        raise refuse("services", problem)
    _, service = http[0]
    service = dict(service)
    ports = {port.get("port"): port for port in service.pop("ports", [])}
    if set(ports) - {80, 443} or service.pop("protocol", "tcp") != "tcp":
        raise refuse("services.0.ports", "the stand-in serves ports 80 and 443 over TCP only")
    tls, plain = ports.get(443, {}), ports.get(80, {})
    result = {name: value for name, value in service.items() if name not in ("http_checks", "tcp_checks", "checks")}
    result["force_https"] = plain.get("force_https", False)
    for name in ("http_options", "tls_options"):
        if found := tls.get(name) or plain.get(name):
            result[name] = found
    result["checks"] = [*service.get("checks", []), *service.get("http_checks", [])]
    result["tcp_checks"] = service.get("tcp_checks", [])
    return result
