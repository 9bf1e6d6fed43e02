"""What no primary source states about Fly (**[U]** in the docs), each as a named setting of this stand-in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from parity.config.settings import HarnessSettings
from parity.config.variables import SWITCH, TEXT, Kind, choice, integer, names, number, read, refuse_unknown, setting

_LONGEST = 1e9


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


def _optional_port(text: str) -> int | None:
    return None if text == "none" else integer(1, 65535).parse(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= _LONGEST:
        raise ValueError(text)
    return value


_SECONDS = Kind(_positive, "a number of seconds above 0")
_SECONDS_OR_OFF = Kind(number(0, _LONGEST).parse, "a number of seconds, 0 for none")
_COUNT = Kind(integer(1, 2**31).parse, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class FlySettings:
    """The table of the Fly stand-in."""

    queue_s: float = setting(
        "PARITY_FLY_QUEUE_S", _SECONDS, "10", "how long a request waits below hard_limit before it gets 503"
    )
    start_tries: int = setting(
        "PARITY_FLY_START_TRIES", _COUNT, "15", "how often a starting Machine's port is tried before 502"
    )
    start_window_s: float = setting("PARITY_FLY_START_WINDOW_S", _SECONDS, "8", "over how long those tries are spread")
    boot_s: float = setting(
        "PARITY_FLY_BOOT_S", _SECONDS_OR_OFF, "0", "added to each cold start (Fly: 0.5 to 2 s for the VM)"
    )
    idle_check_s: float = setting(
        "PARITY_FLY_IDLE_CHECK_S", _SECONDS, "150", "interval of the autostop check: stops after 1 to 2 of them"
    )
    websockets_count: bool = setting(
        "PARITY_FLY_WEBSOCKETS_COUNT", SWITCH, "true", "an open WebSocket keeps a Machine from being stopped"
    )
    goaway_code: int = setting(
        "PARITY_FLY_GOAWAY_CODE", _COUNT, "1001", "close code that WebSockets get when their Machine stops"
    )
    idle_timeout_s: float = setting(
        "PARITY_FLY_IDLE_TIMEOUT_S", _SECONDS_OR_OFF, "0", "cut exchanges that are silent so long (pessimistic: 60)"
    )
    grace_check_s: float = setting(
        "PARITY_FLY_GRACE_CHECK_S", _SECONDS, "0.5", "interval of checks within the grace period, until one passes"
    )
    route_unchecked: bool = setting(
        "PARITY_FLY_ROUTE_UNCHECKED", SWITCH, "true", "a started Machine gets traffic before its first check"
    )
    cordon_s: float = setting(
        "PARITY_FLY_CORDON_S", _SECONDS_OR_OFF, "1", "longest wait for what is in flight before a stop's signal"
    )
    reuse_s: float = setting(
        "PARITY_FLY_REUSE_S", _SECONDS, "60", "how long an idle connection to a Machine is reused, if the app keeps it"
    )
    cpu: str = setting(
        "PARITY_FLY_CPU",
        choice("off", "burst", "baseline"),
        "off",
        "a shared CPU's quota: none, Fly's baseline with a burst balance, or the baseline alone (docker driver)",
    )
    prefer_wakes: bool = setting(
        "PARITY_FLY_PREFER_WAKES", SWITCH, "true", "a preferred Machine that is stopped is started and waited for"
    )
    head_timeout_s: float = setting(
        "PARITY_FLY_HEAD_TIMEOUT_S", _SECONDS_OR_OFF, "60", "how long a request's head may take before 408"
    )
    head_limit: int = setting("PARITY_FLY_HEAD_LIMIT", _COUNT, "65536", "bytes of a request's headers before 431")
    url_limit: int = setting("PARITY_FLY_URL_LIMIT", _COUNT, "16384", "bytes of a request's target before 414")
    compress_skip: tuple[str, ...] = setting(
        "PARITY_FLY_COMPRESS_SKIP",
        Kind(_words, "beginnings of content types, separated by commas"),
        "image/,video/,audio/,font/woff,application/zip,application/gzip,application/grpc",
        "content types that are not compressed",
    )
    compress_min: int = setting("PARITY_FLY_COMPRESS_MIN", _COUNT, "32", "smallest body, in bytes, that is compressed")
    poll: bool = setting(
        "PARITY_FLY_POLL",
        SWITCH,
        "false",
        "`parity dev` looks at the files every 0.3 s: where the system's notices of changes do not reach a container",
    )
    public_port: int | None = setting(
        "PARITY_FLY_PUBLIC_PORT",
        Kind(_optional_port, "a port from 1 to 65535, or none"),
        "none",
        "TLS port as clients see it, where it is published under another number",
        inside=True,
    )
    network: str = setting(
        "PARITY_FLY_NETWORK", TEXT, "", "Docker network of Machine containers; empty: PROJECT_machines", inside=True
    )
    project: str = setting(
        "PARITY_FLY_PROJECT", TEXT, "", "compose project of Machine containers; empty: this container's", inside=True
    )


def load_fly_settings(environ: Mapping[str, str] = os.environ) -> FlySettings:
    """Read every setting; an unset or empty variable takes its default. Raises one ``ConfigError`` for all mistakes."""
    refuse_unknown(environ, names(HarnessSettings, FlySettings), "PARITY_FLY_")
    return FlySettings(**read(FlySettings, environ))
