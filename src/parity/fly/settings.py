"""What no primary source states about Fly (**[U]** in the docs), each as a named setting of this stand-in.

One table drives the code and ``docs/standins/fly.md`` (a test holds them equal).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from parity.config.errors import ConfigError
from parity.config.variables import Setting, read


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError(text)
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


def _optional_port(text: str) -> int | None:
    if text == "none":
        return None
    value = int(text)
    if not 1 <= value <= 65535:
        raise ValueError(text)
    return value


_SECONDS = (_positive, "a number of seconds above 0")
_SECONDS_OR_OFF = (_not_negative, "a number of seconds, 0 for none")
_COUNT = (_count, "a whole number from 1")
_SWITCH = (_switch, "true or false")

SETTINGS: tuple[Setting, ...] = (
    Setting("PARITY_FLY_QUEUE_S", "10", *_SECONDS, "how long a request waits below hard_limit before it gets 503"),
    Setting("PARITY_FLY_START_TRIES", "15", *_COUNT, "how often a starting Machine's port is tried before 502"),
    Setting("PARITY_FLY_START_WINDOW_S", "8", *_SECONDS, "over how long those tries are spread"),
    Setting("PARITY_FLY_BOOT_S", "0", *_SECONDS_OR_OFF, "added to each cold start (Fly: 0.5 to 2 s for the VM)"),
    Setting("PARITY_FLY_IDLE_CHECK_S", "150", *_SECONDS, "interval of the autostop check: stops after 1 to 2 of them"),
    Setting("PARITY_FLY_WEBSOCKETS_COUNT", "true", *_SWITCH, "an open WebSocket keeps a Machine from being stopped"),
    Setting("PARITY_FLY_GOAWAY_CODE", "1001", *_COUNT, "close code that WebSockets get when their Machine stops"),
    Setting(
        "PARITY_FLY_IDLE_TIMEOUT_S", "0", *_SECONDS_OR_OFF, "cut exchanges that are silent so long (pessimistic: 60)"
    ),
    Setting(
        "PARITY_FLY_GRACE_CHECK_S", "0.5", *_SECONDS, "interval of checks within the grace period, until one passes"
    ),
    Setting("PARITY_FLY_ROUTE_UNCHECKED", "true", *_SWITCH, "a started Machine gets traffic before its first check"),
    Setting(
        "PARITY_FLY_PREFER_WAKES", "true", *_SWITCH, "a preferred Machine that is stopped is started and waited for"
    ),
    Setting("PARITY_FLY_HEAD_LIMIT", "65536", *_COUNT, "bytes of a request's headers before 431"),
    Setting("PARITY_FLY_URL_LIMIT", "16384", *_COUNT, "bytes of a request's target before 414"),
    Setting(
        "PARITY_FLY_COMPRESS_SKIP",
        "image/,video/,audio/,font/woff,application/zip,application/gzip,application/grpc",
        _words,
        "beginnings of content types, separated by commas",
        "content types that are not compressed",
    ),
    Setting("PARITY_FLY_COMPRESS_MIN", "32", *_COUNT, "smallest body, in bytes, that is compressed"),
    Setting(
        "PARITY_FLY_PUBLIC_PORT",
        "none",
        _optional_port,
        "a port from 1 to 65535, or none",
        "TLS port as clients see it, where it is published under another number",
    ),
    Setting(
        "PARITY_FLY_NETWORK", "", str, "a Docker network", "network of Machine containers; empty: PROJECT_machines"
    ),
    Setting(
        "PARITY_FLY_PROJECT", "", str, "a compose project", "project of Machine containers; empty: this container's"
    ),
)


@dataclass(frozen=True)
class FlySettings:
    """The values of ``SETTINGS``; a field is the variable's name without ``PARITY_FLY_``, in lower case."""

    queue_s: float
    start_tries: int
    start_window_s: float
    boot_s: float
    idle_check_s: float
    websockets_count: bool
    goaway_code: int
    idle_timeout_s: float
    grace_check_s: float
    route_unchecked: bool
    prefer_wakes: bool
    head_limit: int
    url_limit: int
    compress_skip: tuple[str, ...]
    compress_min: int
    public_port: int | None
    network: str
    project: str


def load_fly_settings(environ: Mapping[str, str] = os.environ) -> FlySettings:
    """Read every setting; an unset or empty variable takes its default. Raises ``ConfigError``, naming the variable."""
    known = {setting.name for setting in SETTINGS}
    for name in environ:
        if name.startswith("PARITY_FLY_") and name not in known:
            raise ConfigError(name, "there is no such setting", f"one of {', '.join(sorted(known))}", f"unset {name}")
    values = read(SETTINGS, environ)
    # The fields of the table begin with fly_; those of the class, which is named so, do not.
    return FlySettings(**{name.removeprefix("fly_"): value for name, value in values.items()})  # type: ignore[arg-type]
