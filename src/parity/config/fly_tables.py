"""The tables of ``fly.toml`` with flyctl's defaults, units and spellings (superfly/docs, November 2026)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from parity.config.errors import nearest
from parity.config.fly_keys import SIZES
from parity.config.units import mebibytes, seconds


def _clamped(value: object) -> float:
    """Check durations: bare numbers are milliseconds; clamped to 1 s to 1 min."""
    return min(60.0, max(1.0, seconds(value, bare=0.001)))


Duration = Annotated[float, BeforeValidator(seconds)]
CheckDuration = Annotated[float, BeforeValidator(_clamped)]
Memory = Annotated[int, BeforeValidator(mebibytes)]


class Table(BaseModel):
    """One table; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Check(Table):
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
            raise ValueError("expected a path that begins with /")
        return value


class TcpCheck(Table):
    """One ``[[http_service.tcp_checks]]``: the port accepts a connection; durations in seconds."""

    interval_s: CheckDuration = Field(default=15.0, alias="interval")
    timeout_s: CheckDuration = Field(default=10.0, alias="timeout")
    grace_period_s: CheckDuration = Field(default=10.0, alias="grace_period")


class NamedCheck(Check):
    """One ``[checks.NAME]``: a deploy waits for it, and requests are routed whatever it says.

    ``port`` is the service's unless it is given.
    """

    type: Literal["tcp", "http"]
    port: int | None = Field(default=None, ge=1, le=65535)
    processes: list[str] = []

    @property
    def called(self) -> Check | TcpCheck:
        """What is done at each call."""
        if self.type == "http":
            return self
        return TcpCheck.model_construct(
            interval_s=self.interval_s, timeout_s=self.timeout_s, grace_period_s=self.grace_period_s
        )


class MachineCheck(Table):
    """One ``[[http_service.machine_checks]]``: a command that must succeed after each Machine that a deploy replaced.

    It runs in a Machine of its own, of ``image`` or of the release's; ``FLY_TEST_MACHINE_IP`` says which one to test.
    """

    command: list[str] = Field(min_length=1)
    image: str = ""
    entrypoint: list[str] = []
    kill_signal: str = ""
    kill_timeout: Annotated[float, BeforeValidator(seconds)] = 5.0


class Concurrency(Table):
    """Limits of one Machine. Without a section: connections, soft 20, no hard limit."""

    type: Literal["connections", "requests"] = "connections"
    soft_limit: int = Field(default=20, ge=1)
    hard_limit: int | None = Field(default=None, ge=1)


class HttpResponse(Table):
    """``[http_service.http_options.response]``."""

    headers: dict[str, str | bool | list[str]] = {}
    pristine: bool = False


class ReplayCacheRule(Table):
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


class HttpOptions(Table):
    """``[http_service.http_options]``; times in seconds."""

    compress: bool = True
    idle_timeout: float | None = None
    headers_read_timeout: float | None = None
    h2_backend: bool = False
    response: HttpResponse = HttpResponse()
    replay_cache: list[ReplayCacheRule] = []


AutoStop = Literal["off", "stop", "suspend"]


class HttpService(Table):
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
    machine_checks: list[MachineCheck] = []

    @field_validator("auto_stop_machines", mode="before")
    @classmethod
    def _booleans(cls, value: object) -> object:
        """``false`` and ``true`` mean off and stop."""
        return {False: "off", True: "stop"}[value] if isinstance(value, bool) else value


class Vm(Table):
    """``[[vm]]``; memory in MiB. ``memory_mb`` goes before ``memory``, and both go before the preset ``size``.

    Source: superfly/flyctl, internal/appconfig/machines.go, ``computeToGuest``.
    """

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
        if memory not in (None, "") and not data.get("memory_mb"):
            data["memory_mb"] = memory
        size = data.get("size", "")
        if not size:
            return data
        if size not in SIZES:
            raise ValueError(f"size: Fly has no size {size!r}; {nearest(str(size), set(SIZES))}")
        kind, cpus, mib = SIZES[size]
        return {"cpu_kind": kind, "cpus": cpus, "memory_mb": mib, **data}


class Deploy(Table):
    """``[deploy]``; times in seconds. ``max_unavailable`` is a number of Machines from 1, a fraction below."""

    strategy: Literal["rolling", "immediate", "canary", "bluegreen"] = "rolling"
    wait_timeout_s: Duration = Field(default=300.0, alias="wait_timeout")
    release_command: str = ""
    release_command_timeout_s: Duration = Field(default=300.0, alias="release_command_timeout")
    release_command_vm: Vm | None = None
    max_unavailable: float = Field(default=0.33, gt=0)


class Restart(Table):
    """``[[restart]]``."""

    policy: Literal["on-failure", "always", "never"] = "on-failure"
    max_retries: int = Field(default=10, alias="retries", ge=0)
    processes: list[str] = []


class Mount(Table):
    """``[[mounts]]``: a volume, which outlives the root filesystem."""

    source: str = Field(min_length=1)
    destination: str = Field(pattern=r"^/.+")
    processes: list[str] = []


class Experimental(Table):
    """``[experimental]``: what replaces the image's command and entrypoint; ``exec`` replaces both."""

    cmd: list[str] = []
    entrypoint: list[str] = []
    exec: list[str] = []


class File(Table):
    """``[[files]]``: a file that is written into each Machine before it starts.

    Its content is exactly one of: the base64 text ``raw_value``, a secret that holds base64 text, a local file.
    """

    guest_path: str = Field(pattern=r"^/.+")
    local_path: str = ""
    secret_name: str = ""
    raw_value: str = ""
    processes: list[str] = []

    @model_validator(mode="after")
    def _one_source(self) -> File:
        if sum(map(bool, (self.local_path, self.secret_name, self.raw_value))) != 1:
            raise ValueError("expected exactly one of local_path, secret_name and raw_value")
        return self
