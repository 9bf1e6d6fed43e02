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
        "PARITY_FLY_QUEUE_S",
        _SECONDS,
        "10",
        "how long a request waits for a Machine below hard_limit before it is answered 503",
    )
    start_tries: int = setting(
        "PARITY_FLY_START_TRIES",
        _COUNT,
        "15",
        "how many times the edge tries a starting Machine's port before it answers 502",
    )
    start_window_s: float = setting(
        "PARITY_FLY_START_WINDOW_S", _SECONDS, "8", "the time over which these tries are spread"
    )
    boot_s: float = setting(
        "PARITY_FLY_BOOT_S", _SECONDS_OR_OFF, "0", "delay added to each cold start (on Fly the VM takes 0.5 to 2 s)"
    )
    idle_check_s: float = setting(
        "PARITY_FLY_IDLE_CHECK_S",
        _SECONDS,
        "150",
        "interval of the autostop check; an idle Machine stops after 1 to 2 intervals",
    )
    websockets_count: bool = setting(
        "PARITY_FLY_WEBSOCKETS_COUNT", SWITCH, "true", "whether an open WebSocket prevents autostop"
    )
    goaway_code: int = setting(
        "PARITY_FLY_GOAWAY_CODE", _COUNT, "1001", "close code of WebSockets when their Machine stops"
    )
    idle_timeout_s: float = setting(
        "PARITY_FLY_IDLE_TIMEOUT_S",
        _SECONDS_OR_OFF,
        "0",
        "close exchanges after this long without data (60 is the pessimistic choice)",
    )
    grace_check_s: float = setting(
        "PARITY_FLY_GRACE_CHECK_S",
        _SECONDS,
        "0.5",
        "interval of health checks within the grace period, until one passes",
    )
    route_unchecked: bool = setting(
        "PARITY_FLY_ROUTE_UNCHECKED",
        SWITCH,
        "true",
        "whether a started Machine gets traffic before its first health check",
    )
    cordon_s: float = setting(
        "PARITY_FLY_CORDON_S", _SECONDS_OR_OFF, "1", "longest wait for requests in flight before kill_signal is sent"
    )
    reuse_s: float = setting(
        "PARITY_FLY_REUSE_S", _SECONDS, "60", "how long an idle connection to a Machine is reused, if the app keeps it"
    )
    cpu: str = setting(
        "PARITY_FLY_CPU",
        choice("off", "burst", "baseline"),
        "off",
        "CPU quota of a shared CPU (docker driver): none, Fly's baseline plus burst, or the baseline alone",
    )
    prefer_wakes: bool = setting(
        "PARITY_FLY_PREFER_WAKES", SWITCH, "true", "whether a stopped Machine that a request prefers is started for it"
    )
    head_timeout_s: float = setting(
        "PARITY_FLY_HEAD_TIMEOUT_S",
        _SECONDS_OR_OFF,
        "60",
        "time for a request's headers to arrive, before the answer 408",
    )
    head_limit: int = setting(
        "PARITY_FLY_HEAD_LIMIT", _COUNT, "65536", "largest size of a request's headers in bytes; more is answered 431"
    )
    url_limit: int = setting(
        "PARITY_FLY_URL_LIMIT", _COUNT, "16384", "largest size of a request's target in bytes; more is answered 414"
    )
    compress_skip: tuple[str, ...] = setting(
        "PARITY_FLY_COMPRESS_SKIP",
        Kind(_words, "beginnings of content types, separated by commas"),
        "image/,video/,audio/,font/woff,application/zip,application/gzip,application/grpc",
        "content types that are not compressed",
    )
    compress_min: int = setting("PARITY_FLY_COMPRESS_MIN", _COUNT, "32", "smallest body in bytes that is compressed")
    poll: bool = setting(
        "PARITY_FLY_POLL",
        SWITCH,
        "false",
        "let `parity dev` poll files every 0.3 s, for containers that get no file system events",
    )
    public_port: int | None = setting(
        "PARITY_FLY_PUBLIC_PORT",
        Kind(_optional_port, "a port from 1 to 65535, or none"),
        "none",
        "TLS port that clients use, if it is published under another number",
        inside=True,
    )
    network: str = setting(
        "PARITY_FLY_NETWORK", TEXT, "", "Docker network of Machine containers; empty: PROJECT_machines", inside=True
    )
    project: str = setting(
        "PARITY_FLY_PROJECT",
        TEXT,
        "",
        "Compose project of Machine containers; empty: this container's project",
        inside=True,
    )


def load_fly_settings(environ: Mapping[str, str] = os.environ) -> FlySettings:
    """Read every setting; an unset or empty variable takes its default. Raises one ``ConfigError`` for all mistakes."""
    refuse_unknown(environ, names(HarnessSettings, FlySettings), "PARITY_FLY_")
    return FlySettings(**read(FlySettings, environ))
