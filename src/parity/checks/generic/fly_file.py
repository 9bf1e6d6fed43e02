"""Finds settings of a fly.toml that are spelled correctly and do not mean what their author expects.

``parity.config.fly_toml`` refuses misspelled keys; this module finds the mistakes that flyctl accepts without a
warning. All functions are pure and work on the parsed file. Sources: superfly/docs (reference/configuration) and
flyctl v0.4.87, read in August 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Keys of the file's top level. Below ``[env]``, TOML puts a key into that table, and flyctl reads a variable.
TOP_LEVEL = frozenset(
    {"app", "primary_region", "kill_signal", "kill_timeout", "swap_size_mb", "console_command", "host_dedication_id"}
)
SENSITIVE = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY|ACCESS_KEY|API_KEY|DSN)(_|$)|_KEY$")
WITH_PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@")
LOCAL = re.compile(r"^[a-z][a-z0-9+.-]*://(localhost|127\.0\.0\.1|0\.0\.0\.0|host\.docker\.internal)\b")
PLACEHOLDER = re.compile(r"^(<.*>|changeme|todo|tbd|xxx+|your[-_ ].*|example)$", re.I)
# Fly suspends only Machines with at most this much memory, in MB.
SUSPEND_MB = 2048


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Mapping)]


def misread(fly: Mapping[str, Any]) -> list[str]:
    """A sentence for each setting that flyctl or Fly does not carry out as it is written."""
    return [*_misplaced(fly), *_durations(fly), *_service(fly), *_machines(fly)]


def _misplaced(fly: Mapping[str, Any]) -> Iterator[str]:
    for name, table in fly.items():
        if name == "processes":  # its keys are names of groups; Fly's own default is "app"
            continue
        for inner in _tables(table):
            for key in TOP_LEVEL & set(inner):
                yield (
                    f"{key} stands in [{name}], where flyctl"
                    f" {'reads it as an environment variable' if name == 'env' else 'ignores it'}: move it above the"
                    " first [table], because it is a key of the top level"
                )
    for key, value in (fly.get("env") or {}).items():
        if not isinstance(value, str):
            yield f'env.{key} is {value!r}, not a string: write "{str(value).lower()}", as the app gets a string'


def _durations(fly: Mapping[str, Any]) -> Iterator[str]:
    for where, one in _checks(fly):
        for key in ("interval", "timeout", "grace_period"):
            value = one.get(key)
            # 10000 is meant as milliseconds: flyctl itself wrote such files.
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1000:
                yield f'{where}: {key} = {value} means {value} milliseconds, not seconds: write "{value}s"'
        if _seconds(one.get("timeout", "5s")) > _seconds(one.get("interval", "15s")):
            yield f"{where}: timeout is longer than interval: make it shorter, so that checks do not overlap"


def _seconds(value: object) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    if isinstance(value, int | float):
        return value / 1000
    found = re.findall(r"([\d.]+)(ms|s|m|h)", str(value))
    return sum(float(number) * units[unit] for number, unit in found)


def _services(fly: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every service with the name of its table: ``[http_service]``, and the older ``[[services]]``."""
    names = ("http_service", "services")
    return [(name, one) for name in names if name in fly for one in _tables(fly[name])]


def _checks(fly: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every health check with the name of its table."""
    found = [("checks", one) for one in (fly.get("checks") or {}).values() if isinstance(one, Mapping)]
    for name, service in _services(fly):
        for key in ("checks", "http_checks", "tcp_checks"):
            found += [(f"{name}.{key}", one) for one in _tables(service.get(key, []))]
    return found


def _service(fly: Mapping[str, Any]) -> Iterator[str]:
    groups = set(fly.get("processes") or {"app": ""})
    for name, service in _services(fly):
        limits = service.get("concurrency") or {}
        soft, hard = limits.get("soft_limit", 20), limits.get("hard_limit")
        if hard is not None and soft > hard:
            yield (
                f"concurrency.soft_limit ({soft}) is above hard_limit ({hard}), so Fly never starts another Machine:"
                " set soft_limit below hard_limit"
            )
        wanted = set(service.get("processes") or [])
        if missing := wanted - groups:
            yield f"{name}.processes names {', '.join(sorted(missing))}, which [processes] does not define"
        if len(groups) > 1 and not wanted:
            yield (
                f"{name} names no group, so Fly sends requests to all of {', '.join(sorted(groups))}: add"
                ' processes = ["…"] with the group that serves requests'
            )
    strategy = (fly.get("deploy") or {}).get("strategy")
    if strategy == "immediate" and _checks(fly):
        yield (
            'deploy.strategy = "immediate" waits for no health check, so a release that never starts counts as'
            ' deployed: use "rolling"'
        )
    if fly.get("mounts") and strategy in ("bluegreen", "canary"):
        yield f'deploy.strategy = "{strategy}" does not work with [mounts]: a volume belongs to one Machine'


def _machines(fly: Mapping[str, Any]) -> Iterator[str]:
    suspends = any(service.get("auto_stop_machines") == "suspend" for _, service in _services(fly))
    for one in _tables(fly.get("vm", [])):
        memory = _megabytes(one.get("memory_mb") or one.get("memory") or 256)
        if suspends and memory > SUSPEND_MB:
            yield (
                f'auto_stop_machines is "suspend", but Fly suspends no Machine with {memory} MB ({SUSPEND_MB} at most):'
                ' use "stop", or less memory'
            )
        if "memory" in one and "memory_mb" in one:
            yield "[[vm]] has memory and memory_mb: one of them is ignored, so remove one"
    if suspends and fly.get("swap_size_mb"):
        yield 'auto_stop_machines is "suspend", but Fly suspends no Machine with swap: use "stop", or no swap'
    if _seconds(fly.get("kill_timeout", "5s")) > 300:
        yield "kill_timeout is longer than 300 s, the longest that Fly allows"


def _megabytes(value: object) -> int:
    found = re.fullmatch(r"(\d+)\s*(mb|gb|g|m)?", str(value).strip().lower())
    if not found:
        return 0
    return int(found[1]) * (1024 if (found[2] or "").startswith("g") else 1)


def exposed(env: Mapping[str, Any]) -> list[str]:
    """Names of variables in ``[env]`` that look like secrets.

    They are not secret there: fly.toml is in the repository, and ``fly config show`` prints it.
    """
    return [
        name
        for name, value in env.items()
        if isinstance(value, str) and value and (SENSITIVE.search(name) or WITH_PASSWORD.match(value))
    ]


def unfit(values: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that cannot be right on Fly."""
    wrong = []
    for name, value in values.items():
        if not isinstance(value, str):
            continue
        if value != value.strip() or "\n" in value:
            wrong.append(f"{name} has white space around its value, and the app gets the white space too")
        elif len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            wrong.append(f"{name} is quoted twice, and the app gets the inner quotes")
        elif PLACEHOLDER.match(value):
            wrong.append(f"{name} is still a placeholder ({value})")
    return wrong


def local(env: Mapping[str, Any]) -> list[str]:
    """Variables of ``[env]`` whose whole value is an address on the developer's own machine."""
    return [name for name, value in env.items() if isinstance(value, str) and LOCAL.match(value) and "," not in value]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What ``other``, the fly.toml of another environment, lacks in comparison with ``one``."""
    wrong = []
    if gone := set(one.get("processes") or {}) - set(other.get("processes") or {}):
        wrong.append(f"no process group {', '.join(sorted(gone))}")
    if one.get("mounts") and not other.get("mounts"):
        wrong.append("no [mounts]")
    if _checks(one) and not _checks(other):
        wrong.append("no health check")
    return wrong
