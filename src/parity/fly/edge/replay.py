"""``fly-replay``: with this answer a Machine asks the edge to send the request to another Machine.

Source: superfly/docs, networking/dynamic-request-routing (read November 2026). Both forms are read here, the header and
the JSON body; ``route`` decides what follows from them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from parity.config.units import seconds
from parity.fly.edge.headers import Headers, value_of

MAX_HOPS = 10
JSON_FORM = b"application/vnd.fly.replay+json"
# A longer JSON body is refused, in bytes. Fly documents no limit.
JSON_LIMIT = 64 * 1024
FALLBACKS = ("force_self", "prefer_self")

_TEXT_FIELDS = ("region", "instance", "prefer_instance", "app", "state", "timeout", "fallback")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# They delimit the body, which a transform does not change.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "upgrade"})
_FIELDS = frozenset({*_TEXT_FIELDS, "elsewhere"})


class ReplayError(Exception):
    """The replay is malformed, or asks for something that the stand-in does not serve."""


@dataclass(frozen=True, slots=True)
class Transform:
    """How the JSON form changes the request for its target. ``path`` includes the query; None leaves it."""

    path: str | None = None
    delete_headers: tuple[str, ...] = ()
    set_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CacheOrder:
    """What the app asks the path cache to remember: ``[host]/path/*`` for ``ttl_s`` seconds."""

    pattern: str
    ttl_s: float
    allow_bypass: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """Where a request goes next. ``regions`` is the list as the app wrote it, None for any region."""

    instance: str | None = None
    prefer_instance: str | None = None
    regions: str | None = None
    elsewhere: bool = False
    state: str | None = None
    timeout_s: float | None = None
    fallback: str | None = None
    transform: Transform | None = None
    cache: CacheOrder | None = None
    invalidate: bool = False

    @property
    def uncacheable(self) -> str | None:
        """The field for which Fly does not cache this replay, None if there is none."""
        for name in ("state", "timeout_s", "fallback", "transform"):
            if getattr(self, name) is not None:
                return name.removesuffix("_s")
        return None


def is_json_form(headers: Headers) -> bool:
    """Whether the response's body is a replay instruction."""
    return (value_of(headers, b"content-type") or b"").split(b";")[0].strip().lower() == JSON_FORM


def read_header(headers: Headers, *, app: str) -> Replay | None:
    """The replay that a response's ``fly-replay`` header asks for, None without one. Raises ``ReplayError``."""
    value = value_of(headers, b"fly-replay")
    if value is None:
        return None
    fields: dict[str, str] = {}
    for part in value.decode("latin-1").split(";"):
        if not part.strip():
            continue
        key, separator, text = part.partition("=")
        if not separator:
            raise ReplayError(f"fly-replay: {part!r} is not key=value")
        fields[key.strip()] = text.strip().strip('"')
    elsewhere = fields.pop("elsewhere", "").lower() == "true"
    return _replay(fields, elsewhere, app, *_cache_headers(headers))


def read_json(body: bytes, *, app: str) -> Replay:
    """The replay that a JSON body asks for. Raises ``ReplayError``."""
    try:
        data = json.loads(body)
    except ValueError as error:
        raise ReplayError(f"fly-replay: the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ReplayError("fly-replay: the body is not a JSON object")
    transform, cache = data.pop("transform", None), data.pop("cache", None)
    elsewhere = data.pop("elsewhere", False) is True
    fields = {name: value for name, value in data.items() if value is not None}
    for name, value in fields.items():
        if name in _TEXT_FIELDS and not isinstance(value, str):
            raise ReplayError(f"fly-replay: {name}: expected a string, got {value!r}")
    try:
        order, invalidate = _cache_object(cache)
        return _replay(fields, elsewhere, app, order, invalidate, _transform(transform))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReplayError(f"fly-replay: the JSON body cannot be read: {error!r}") from None


def _replay(
    fields: dict[str, str],
    elsewhere: bool,
    app: str,
    cache: CacheOrder | None,
    invalidate: bool,
    transform: Transform | None = None,
) -> Replay:
    unknown = set(fields) - _FIELDS
    if unknown:
        raise ReplayError(f"fly-replay: {', '.join(sorted(unknown))}: no such field, or not implemented")
    if fields.get("app", app) != app:
        raise ReplayError(f"fly-replay: app {fields['app']!r} is not implemented: the stand-in runs only {app}")
    fallback = fields.get("fallback")
    if fallback is not None and fallback not in FALLBACKS:
        raise ReplayError(f"fly-replay: fallback={fallback!r}: expected one of {', '.join(FALLBACKS)}")
    try:
        timeout = seconds(fields["timeout"]) if "timeout" in fields else None
    except ValueError as error:
        raise ReplayError(f"fly-replay: timeout={fields['timeout']!r}: {error}") from None
    return Replay(
        instance=fields.get("instance"),
        prefer_instance=fields.get("prefer_instance"),
        regions=fields.get("region"),
        elsewhere=elsewhere,
        state=fields.get("state"),
        timeout_s=timeout,
        fallback=fallback,
        transform=transform,
        cache=cache,
        invalidate=invalidate,
    )


def _cache_headers(headers: Headers) -> tuple[CacheOrder | None, bool]:
    """The path cache's order, and whether to invalidate, from the ``fly-replay-cache*`` headers."""
    pattern = (value_of(headers, b"fly-replay-cache") or b"").decode("latin-1").strip()
    if not pattern:
        return None, False
    if pattern.lower() == "invalidate":
        return None, True
    ttl = (value_of(headers, b"fly-replay-cache-ttl-secs") or b"").decode("latin-1").strip()
    if not ttl.isdigit():
        raise ReplayError(f"fly-replay-cache-ttl-secs: {ttl!r}: expected a whole number of seconds, at least 10")
    bypass = (value_of(headers, b"fly-replay-cache-allow-bypass") or b"").strip().lower() == b"yes"
    return CacheOrder(pattern, float(ttl), bypass), False


def _cache_object(data: Any) -> tuple[CacheOrder | None, bool]:
    if data is None:
        return None, False
    if data.get("invalidate") is True:
        return None, True
    return CacheOrder(str(data["prefix"]), float(data["ttl"]), data.get("allow_bypass") is True), False


def _transform(data: Any) -> Transform | None:
    if data is None:
        return None
    unknown = set(data) - {"path", "delete_headers", "set_headers"}
    if unknown:
        raise ReplayError(f"fly-replay: transform.{sorted(unknown)[0]}: no such field, or not implemented")
    path = data.get("path")
    if path is not None and not (isinstance(path, str) and path.startswith("/") and path.isascii()):
        raise ReplayError(f"fly-replay: transform.path: expected a path that begins with /, got {path!r}")
    pairs = tuple((str(item["name"]), str(item["value"])) for item in data.get("set_headers", ()))
    removed = tuple(str(name) for name in data.get("delete_headers", ()))
    for name in (*removed, *(name for name, _ in pairs)):
        if not _TOKEN.fullmatch(name) or name.lower() in _FRAMING:
            raise ReplayError(f"fly-replay: transform: header {name!r} cannot be set or deleted")
    if any(character in value for _, value in pairs for character in "\r\n\0"):
        raise ReplayError("fly-replay: transform.set_headers: a value contains a line break")
    return Transform(path, removed, pairs)


def replay_source(from_machine: str, region: str, replayed_us: int, state: str | None) -> bytes:
    """The ``fly-replay-src`` header of a replayed request; ``replayed_us`` is Unix time in microseconds."""
    parts = [f"instance={from_machine}", f"region={region}", f"t={replayed_us}"]
    if state is not None:
        parts.append(f"state={state}")
    return ";".join(parts).encode("latin-1", "replace")


@dataclass(frozen=True, slots=True)
class Failure:
    """A replay that did not reach its target, for ``fly-replay-failed``."""

    replay: Replay
    source: str
    reason: str
    elapsed_ms: int
    app: str = field(default="")
    region: str = field(default="")

    def header(self) -> bytes:
        """The value of ``fly-replay-failed``, in the order that Fly's docs show."""
        target = self.replay.instance or self.replay.prefer_instance or ""
        parts = [
            f"instance={target}",
            f"app={self.app}",
            f"region={self.replay.regions or self.region}",
            f"replay_source={self.source}",
            f"reason={self.reason}",
            f"elapsed_ms={self.elapsed_ms}",
        ]
        return ";".join(parts).encode("latin-1", "replace")
