"""``fly.toml`` as flyctl v0.4.87 reads it: defaults, units and spellings (superfly/docs, November 2026).

A deploy takes misspelt keys silently; only ``fly config validate --strict`` does not. This reader refuses them too,
unless it is asked to read as a deploy does. Keys that flyctl knows and the stand-in does not act on are listed in
``FlyConfig.not_reproduced``; the table is in ``fly_keys``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from parity.config.errors import ConfigError, nearest
from parity.config.fly_keys import SIZES, TOP_LEVEL, NotReproduced, normalized, service_as_http, take_out
from parity.config.toml_file import load_model, read_toml
from parity.config.units import mebibytes, seconds


def _clamped(value: object) -> float:
    """Check durations: bare numbers are milliseconds; clamped to 1 s to 1 min."""
    return min(60.0, max(1.0, seconds(value, bare=0.001)))


Duration = Annotated[float, BeforeValidator(seconds)]
CheckDuration = Annotated[float, BeforeValidator(_clamped)]
Memory = Annotated[int, BeforeValidator(mebibytes)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Check(_Table):
    """One ``[[http_service.checks]]``; durations in seconds."""

    path: str = "/"
    method: str = "get"
    protocol: Literal["http", "https"] = "http"
    interval_s: CheckDuration = Field(default=15.0, alias="interval")
    timeout_s: CheckDuration = Field(default=10.0, alias="timeout")
    grace_period_s: CheckDuration = Field(default=10.0, alias="grace_period")
    headers: dict[str, str] = {}
    tls_skip_verify: bool = False
    tls_server_name: str = ""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError("a path that begins with / is wanted")
        return value


class TcpCheck(_Table):
    """One ``[[http_service.tcp_checks]]``: the port accepts a connection; durations in seconds."""

    interval_s: CheckDuration = Field(default=15.0, alias="interval")
    timeout_s: CheckDuration = Field(default=10.0, alias="timeout")
    grace_period_s: CheckDuration = Field(default=10.0, alias="grace_period")


class Concurrency(_Table):
    """Limits of one Machine. Without a section: connections, soft 20, no hard limit."""

    type: Literal["connections", "requests"] = "connections"
    soft_limit: int = Field(default=20, ge=1)
    hard_limit: int | None = Field(default=None, ge=1)


class HttpResponse(_Table):
    """``[http_service.http_options.response]``."""

    headers: dict[str, str | bool | list[str]] = {}
    pristine: bool = False


class ReplayCacheRule(_Table):
    """One ``[[http_service.http_options.replay_cache]]``: replays are cached by a cookie's or header's value."""

    path_prefix: str = "/"
    ttl_seconds: int = Field(ge=10)
    type: Literal["cookie", "header"]
    name: str = Field(min_length=1)
    allow_bypass: bool = False

    @field_validator("path_prefix")
    @classmethod
    def _no_protocol(cls, value: str) -> str:
        host = value.partition("/")[0]
        if "/" not in value or ":" in host:
            raise ValueError("expected a path such as /api, or a host without protocol and port before it")
        return value


class HttpOptions(_Table):
    """``[http_service.http_options]``; times in seconds."""

    compress: bool = True
    idle_timeout: float | None = None
    headers_read_timeout: float | None = None
    h2_backend: bool = False
    response: HttpResponse = HttpResponse()
    replay_cache: list[ReplayCacheRule] = []


AutoStop = Literal["off", "stop", "suspend"]


class HttpService(_Table):
    """``[http_service]``."""

    internal_port: int = Field(default=8080, ge=1, le=65535)
    force_https: bool = False
    auto_stop_machines: AutoStop = "off"
    auto_start_machines: bool = True
    min_machines_running: int = Field(default=0, ge=0)
    processes: list[str] = []
    concurrency: Concurrency = Concurrency()
    http_options: HttpOptions = HttpOptions()
    checks: list[Check] = []
    tcp_checks: list[TcpCheck] = []

    @field_validator("auto_stop_machines", mode="before")
    @classmethod
    def _booleans(cls, value: object) -> object:
        """``false`` and ``true`` mean off and stop."""
        return {False: "off", True: "stop"}[value] if isinstance(value, bool) else value


class Vm(_Table):
    """``[[vm]]``; memory in MiB. ``size`` is a preset below the other keys; ``memory`` goes before ``memory_mb``."""

    size: str = ""
    cpu_kind: Literal["shared", "performance"] = "shared"
    cpus: int = Field(default=1, ge=1)
    memory_mb: Memory = Field(default=256, ge=1)
    persist_rootfs: Literal["never", "restart", "always"] = "never"
    processes: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        memory = data.pop("memory", None)
        if memory not in (None, ""):
            data["memory_mb"] = memory
        size = data.get("size", "")
        if not size:
            return data
        if size not in SIZES:
            raise ValueError(f"size: Fly has no size {size!r}; {nearest(str(size), set(SIZES))}")
        kind, cpus, mib = SIZES[size]
        return {"cpu_kind": kind, "cpus": cpus, "memory_mb": mib, **data}


class Deploy(_Table):
    """``[deploy]``; times in seconds. ``max_unavailable`` is a number of Machines from 1, a fraction below."""

    strategy: Literal["rolling", "immediate", "canary", "bluegreen"] = "rolling"
    wait_timeout_s: Duration = Field(default=300.0, alias="wait_timeout")
    release_command: str = ""
    release_command_timeout_s: Duration = Field(default=300.0, alias="release_command_timeout")
    max_unavailable: float = Field(default=0.33, gt=0)


class Restart(_Table):
    """``[[restart]]``."""

    policy: Literal["on-failure", "always", "never"] = "on-failure"
    max_retries: int = Field(default=10, alias="retries", ge=0)
    processes: list[str] = []


class Mount(_Table):
    """``[[mounts]]``: a volume, which outlives the root filesystem."""

    source: str = Field(min_length=1)
    destination: str = Field(pattern=r"^/.+")
    processes: list[str] = []


class Experimental(_Table):
    """``[experimental]``: what replaces the image's command and entrypoint."""

    cmd: list[str] = []
    entrypoint: list[str] = []


Entry = TypeVar("Entry", Vm, Restart, Mount)


class FlyConfig(_Table):
    """One application's configuration; see the nested tables for units.

    ``not_reproduced`` and ``dropped`` are no keys of the file: what the stand-in does not act on, and what flyctl
    itself drops (only when the file is read as flyctl reads it).
    """

    app: str
    primary_region: str = "iad"
    env: dict[str, str] = {}
    http_service: HttpService
    vm: list[Vm] = []
    kill_signal: str = "SIGINT"
    kill_timeout_s: Duration = Field(default=5.0, alias="kill_timeout", le=300)
    swap_size_mb: int = Field(default=0, ge=0)
    deploy: Deploy = Deploy()
    restart: list[Restart] = []
    mounts: list[Mount] = []
    processes: dict[str, str] = {}
    experimental: Experimental = Experimental()
    not_reproduced: list[NotReproduced] = []
    dropped: list[str] = []

    @field_validator("env")
    @classmethod
    def _not_flys_own(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name.startswith("FLY_"):
                raise ValueError(f"{name}: a name may not begin with FLY_")
        return value

    @field_validator("kill_signal")
    @classmethod
    def _signal(cls, value: str) -> str:
        allowed = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP")
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)} is wanted")
        return value

    @property
    def service(self) -> HttpService:
        return self.http_service

    @property
    def group(self) -> str:
        """The process group whose Machines serve HTTP: the service's first, else ``app``, else the first by name."""
        if self.http_service.processes:
            return self.http_service.processes[0]
        return "app" if "app" in self.processes or not self.processes else min(self.processes)

    @property
    def other_groups(self) -> list[str]:
        """The process groups whose Machines serve no HTTP, in the file's order."""
        return [name for name in self.processes if name != self.group]

    def of_group(self, name: str) -> FlyConfig:
        """The configuration as the Machines of another group have it: its size, its mounts, no HTTP checks."""
        service = self.http_service.model_copy(update={"processes": [name], "checks": [], "tcp_checks": []})
        return self.model_copy(update={"http_service": service})

    @property
    def machine(self) -> Vm:
        """The size of a Machine of the group; Fly's default where the file has none."""
        return next(iter(_of_group(self.vm, self.group)), Vm())

    @property
    def restart_policy(self) -> Restart:
        return next(iter(_of_group(self.restart, self.group)), Restart())

    @property
    def volumes(self) -> list[Mount]:
        """What is mounted into each Machine of the group."""
        return _of_group(self.mounts, self.group)


def _of_group(entries: list[Entry], group: str) -> list[Entry]:
    """The entries for a process group: those that name it, before those that name none."""
    named = [entry for entry in entries if group in entry.processes]
    return named or [entry for entry in entries if not entry.processes]


def load_fly_config(path: Path, *, as_flyctl: bool = False) -> FlyConfig:
    """Read and check the file. Raises ``ConfigError``, naming file and key.

    ``as_flyctl`` reads it as a deploy does: what flyctl does not know is dropped and listed in ``dropped``.
    """

    def refuse(key: str, problem: str) -> ConfigError:
        return ConfigError(f"{path}: {key}", problem)

    data, left_out = take_out(normalized(read_toml(path)))
    for key in ("not_reproduced", "dropped"):
        if key in data:
            raise refuse(key, "unknown key")
    if "statics" in data:
        raise ConfigError(
            f"{path}: statics", "the stand-in serves no files in the app's place", fix="serve them by the app, or a CDN"
        )
    services = data.pop("services", [])
    if services and "http_service" in data:
        left_out.insert(0, NotReproduced("services", "more ports of the app, beside [http_service]", loud=True))
    elif services:
        data["http_service"], more = take_out({"http_service": service_as_http(services, refuse)})
        data["http_service"] = data["http_service"]["http_service"]
        left_out += more
    if "http_service" not in data:
        raise ConfigError(f"{path}: http_service", "there is no such section", "[http_service] with internal_port")
    dropped = _drop_unknown(data) if as_flyctl else []
    try:
        config = load_model(path, data, FlyConfig)
    except ConfigError as error:
        raise _placed(error) from None
    for name in TOP_LEVEL & config.env.keys():
        left_out.insert(0, NotReproduced(f"env.{name}", "is a variable here; the key belongs before [env]", loud=True))
    if config.group not in {"app", *config.processes}:
        raise refuse("http_service.processes", f"there is no process group {config.group!r} in [processes]")
    if config.deploy.strategy == "bluegreen" and not config.service.checks and not config.service.tcp_checks:
        raise refuse("deploy.strategy", "bluegreen needs at least one health check")
    if config.deploy.strategy in ("bluegreen", "canary") and config.volumes:
        raise refuse("deploy.strategy", f"{config.deploy.strategy} cannot be used with mounts")
    return config.model_copy(update={"not_reproduced": left_out, "dropped": dropped})


def _drop_unknown(data: dict[str, Any]) -> list[str]:
    """Remove from ``data`` what flyctl does not know, as its deploy does; returns the paths."""
    dropped: list[str] = []
    while True:
        try:
            FlyConfig.model_validate(data)
        except ValidationError as error:
            unknown = [found["loc"] for found in error.errors() if found["type"] == "extra_forbidden"]
        else:
            unknown = []
        if not unknown:
            return dropped
        for path in unknown:
            table: Any = data
            for part in path[:-1]:
                table = table[part]
            del table[path[-1]]
            dropped.append(".".join(str(part) for part in path))


def _placed(error: ConfigError) -> ConfigError:
    """For a key of the file's top that stands in a table: what flyctl makes of it."""
    for found in error.errors:
        key = found.where.rpartition(": ")[2]
        name = key.rpartition(".")[2]
        if found.problem == "unknown key" and name in TOP_LEVEL and "." in key:
            return ConfigError(
                found.where,
                f"flyctl drops {name} here: it is a key of the file's top",
                f"{name} before the first [table]",
                "move it up; PARITY_AS_FLYCTL=true runs the file as flyctl reads it",
            )
    return error
