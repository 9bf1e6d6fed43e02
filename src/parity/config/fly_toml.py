"""``fly.toml`` as flyctl v0.4.87 reads it: defaults, units and spellings (superfly/docs, November 2026).

A deploy ignores misspelt keys silently; only ``fly config validate --strict`` refuses them. This reader refuses them
too, unless ``as_flyctl`` is set. Keys that flyctl knows and the stand-in ignores are listed in
``FlyConfig.not_reproduced``; ``fly_keys`` has their table. The models of the file's tables are in ``fly_tables``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, field_validator

from parity.config.errors import ConfigError
from parity.config.fly_keys import GPU_SIZES, TOP_LEVEL, NotReproduced, normalized, service_as_http, take_out
from parity.config.fly_tables import (
    Deploy,
    Duration,
    Experimental,
    File,
    HttpService,
    MachineCheck,
    Mount,
    NamedCheck,
    Restart,
    Table,
    Vm,
)
from parity.config.toml_file import load_model, read_toml

Entry = TypeVar("Entry", Vm, Restart, Mount, File)


class FlyConfig(Table):
    """One application's configuration; see the nested tables for units.

    ``not_reproduced`` and ``dropped`` are no keys of the file: what the stand-in does not act on, and what flyctl
    itself drops (only when the file is read as flyctl reads it).
    """

    app: str
    primary_region: str = "iad"
    env: dict[str, str] = Field(default_factory=dict)
    http_service: HttpService
    vm: list[Vm] = Field(default_factory=list)
    kill_signal: str = "SIGINT"
    kill_timeout_s: Duration = Field(default=5.0, alias="kill_timeout", le=300)
    swap_size_mb: int = Field(default=0, ge=0)
    deploy: Deploy = Deploy()
    restart: list[Restart] = Field(default_factory=list)
    mounts: list[Mount] = Field(default_factory=list)
    processes: dict[str, str] = Field(default_factory=dict)
    experimental: Experimental = Experimental()
    files: list[File] = Field(default_factory=list)
    checks: dict[str, NamedCheck] = Field(default_factory=dict)
    machine_checks: list[MachineCheck] = Field(default_factory=list)
    not_reproduced: list[NotReproduced] = Field(default_factory=list, exclude=True)
    dropped: list[str] = Field(default_factory=list, exclude=True)

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
            raise ValueError(f"expected one of {', '.join(allowed)}")
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
        none: dict[str, object] = {"checks": [], "tcp_checks": [], "machine_checks": []}
        service = self.http_service.model_copy(update={"processes": [name], **none})
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

    @property
    def group_files(self) -> list[File]:
        """What is written into each Machine of the group: flyctl merges the files of all and those of the group."""
        return [file for file in self.files if not file.processes or self.group in file.processes]

    @property
    def group_checks(self) -> dict[str, NamedCheck]:
        """The checks of ``[checks]`` that each Machine of the group has."""
        own = self.group
        default = "app" if "app" in self.processes or not self.processes else min(self.processes)
        return {name: check for name, check in self.checks.items() if own in (check.processes or [default])}

    @property
    def all_machine_checks(self) -> list[MachineCheck]:
        """What must succeed after each Machine that a deploy replaced."""
        return [*self.machine_checks, *self.http_service.machine_checks]


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
    if any(vm.persist_rootfs == "always" for vm in config.vm):
        on_fly = '"always" keeps the root filesystem over updates too: here it is kept over restarts alone'
        left_out.insert(0, NotReproduced("vm.persist_rootfs", on_fly, loud=True))
    for size in sorted({vm.size for vm in config.vm} & set(GPU_SIZES)):
        left_out.insert(0, NotReproduced("vm.size", f"{size} gives the Machine a GPU", loud=True))
    _refuse_as_flyctl(config, refuse)
    if config.deploy.strategy == "bluegreen" and not config.service.checks and not config.service.tcp_checks:
        raise refuse("deploy.strategy", "bluegreen needs at least one health check")
    if config.deploy.strategy in ("bluegreen", "canary") and config.volumes:
        raise refuse("deploy.strategy", f"{config.deploy.strategy} cannot be used with mounts")
    return config.model_copy(update={"not_reproduced": left_out, "dropped": dropped})


def _refuse_as_flyctl(config: FlyConfig, refuse: Callable[[str, str], ConfigError]) -> None:
    """What a deploy refuses too (superfly/flyctl, internal/appconfig/validation.go); a Machine has one volume."""
    groups = sorted(config.processes) or ["app"]
    if config.processes and not config.service.processes:
        problem = f"no process group is set, but [processes] has {', '.join(groups)}: flyctl refuses to deploy it"
        raise refuse("http_service.processes", problem)
    named = {"http_service": config.service.processes}
    named |= {f"restart.{number}": restart.processes for number, restart in enumerate(config.restart)}
    for place, names in named.items():
        for name in names:
            if name not in groups:
                raise refuse(f"{place}.processes", f"there is no process group {name!r} in [processes]")
    for group in groups:
        if len(_of_group(config.mounts, group)) > 1:
            raise refuse(
                "mounts", f"a Machine has one volume, and process group {group!r} has more than one [[mounts]]"
            )
    commands = {f"processes.{name}": command for name, command in config.processes.items()}
    for place, command in {"deploy.release_command": config.deploy.release_command, **commands}.items():
        try:
            shlex.split(command)
        except ValueError as error:
            raise refuse(place, f"cannot be split into words: {error}: {command}") from None
    for name, check in config.checks.items():
        if check.interval_s < 2:
            raise refuse(f"checks.{name}.interval", f"{check.interval_s:g} s is less than the 2 s that flyctl asks for")


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
