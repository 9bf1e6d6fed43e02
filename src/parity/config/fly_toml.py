"""``deploy/fly.staging.toml`` as flyctl v0.4.87 reads it: defaults, units and spellings (superfly/docs, August 2026).

A deploy takes misspelt keys silently; only ``fly config validate --strict`` does not. This reader refuses them too.
Keys that flyctl knows and the stand-in does not act on are listed in ``FlyConfig.not_reproduced``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from parity.config.errors import ConfigError
from parity.config.toml_file import load_model, read_toml
from parity.config.units import mebibytes, seconds

# Sections and keys that flyctl accepts and the stand-in does not act on (flyctl v0.4.87, read 2026-08).
NOT_REPRODUCED = frozenset(
    {
        "build", "console_command", "experimental", "files", "host_dedication_id", "http_service.machine_checks",
        "metrics", "mounts", "processes", "services", "statics", "tcp_checks", "checks",
    }
)  # fmt: skip


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

    @field_validator("auto_stop_machines", mode="before")
    @classmethod
    def _booleans(cls, value: object) -> object:
        """``false`` and ``true`` mean off and stop."""
        return {False: "off", True: "stop"}[value] if isinstance(value, bool) else value


class Vm(_Table):
    """``[[vm]]``; memory in MiB."""

    size: str = ""
    cpu_kind: Literal["shared", "performance"] = "shared"
    cpus: int = Field(default=1, ge=1)
    memory_mb: Memory = Field(default=256, validation_alias=AliasChoices("memory", "memory_mb"))
    persist_rootfs: Literal["never", "restart", "always"] = "never"
    processes: list[str] = []


class Deploy(_Table):
    """``[deploy]``; times in seconds."""

    strategy: Literal["rolling", "immediate", "canary", "bluegreen"] = "rolling"
    wait_timeout_s: Duration = Field(default=300.0, alias="wait_timeout")
    release_command: str | None = None
    max_unavailable: float | None = None


class Restart(_Table):
    """``[[restart]]``."""

    policy: Literal["on-failure", "always", "never"] = "on-failure"
    max_retries: int = Field(default=10, alias="retries", ge=0)
    processes: list[str] = []


class FlyConfig(_Table):
    """One application's configuration; see the nested tables for units."""

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
    not_reproduced: list[str] = []

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
    def machine(self) -> Vm:
        """The size of a Machine; Fly's default where the file has none."""
        return self.vm[0] if self.vm else Vm()

    @property
    def restart_policy(self) -> Restart:
        return self.restart[0] if self.restart else Restart()


def load_fly_config(path: Path) -> FlyConfig:
    """Read and check the file. Raises ``ConfigError``, naming file and key."""
    data = read_toml(path)
    left_out = sorted(key for key in data if key in NOT_REPRODUCED)
    kept = {key: value for key, value in data.items() if key not in NOT_REPRODUCED}
    service = kept.get("http_service")
    if isinstance(service, dict) and "machine_checks" in service:
        kept["http_service"] = {key: value for key, value in service.items() if key != "machine_checks"}
        left_out.append("http_service.machine_checks")
    if "http_service" not in kept:
        raise ConfigError(f"{path}: http_service", "there is no such section", "[http_service] with internal_port")
    if "not_reproduced" in kept:
        raise ConfigError(f"{path}: not_reproduced", "unknown key")
    config = load_model(path, kept, FlyConfig)
    return config.model_copy(update={"not_reproduced": left_out})
