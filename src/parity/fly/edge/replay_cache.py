"""Fly Proxy's two replay caches: by session (``replay_cache`` of fly.toml) and by path (``fly-replay-cache``).

Source: superfly/docs, networking/dynamic-request-routing and reference/configuration (read November 2026). Each host
has its own caches. The docs leave two cases open; here, the session rule with the longest matching path is used even if
the request lacks its cookie or header, and an entry of the path cache takes precedence over one of the session cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parity.config.fly_tables import ReplayCacheRule
from parity.fly.edge.headers import Headers, value_of
from parity.fly.edge.replay import Replay
from parity.fly.edge.request import Request

# Fly stores nothing for a shorter time, in seconds.
LEAST_TTL_S = 10.0
# Entries over all hosts; above this the oldest one is removed. Fly documents no number.
CAPACITY = 10_000

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cached:
    """One remembered replay. ``source`` is the Machine that issued it, ``expires`` is on the cache's clock."""

    replay: Replay
    source: str
    expires: float
    allow_bypass: bool


class ReplayCache:
    """``clock`` is any monotonic time in seconds."""

    def __init__(self, rules: Sequence[ReplayCacheRule], clock: Callable[[], float]) -> None:
        self._rules = sorted(rules, key=lambda rule: len(split_prefix(rule.path_prefix)[1]), reverse=True)
        self._clock = clock
        self._entries: dict[Key, Cached] = {}

    def find(self, request: Request) -> Cached | None:
        """The replay to repeat for ``request``."""
        if not self._entries:
            return None
        for key in [*self._path_keys(request), *self._session_key(request)]:
            entry = self._entries.get(key)
            if entry is None:
                continue
            if entry.expires > self._clock():
                return entry
            del self._entries[key]
        return None

    def store(self, request: Request, replay: Replay, source: str) -> str:
        """Store ``replay`` if the rules or the app's headers ask for it. Returns a note for ``/fly/requests``."""
        session = self._session_key(request)
        if replay.cache is None and not session:
            return ""
        if replay.uncacheable:
            return f"not stored: Fly does not cache a replay with {replay.uncacheable}"
        now = self._clock()
        if replay.cache is not None:
            order = replay.cache
            if order.ttl_s < LEAST_TTL_S:
                return f"not stored: a TTL of {order.ttl_s:g} s, at least {LEAST_TTL_S:g} s is needed"
            host, path = split_prefix(order.pattern)
            if not prefix_matches(host, path, request):
                return f"not stored: {order.pattern} does not match the request"
            self._put(("path", host_of(request), path), Cached(replay, source, now + order.ttl_s, order.allow_bypass))
            return "stored by path"
        rule = self._rule(request)
        assert rule is not None
        self._put(session[0], Cached(replay, source, now + rule.ttl_seconds, rule.allow_bypass))
        return "stored by session"

    def invalidate(self, request: Request) -> None:
        """Remove the entries for ``request`` from both caches."""
        for key in [*self._path_keys(request), *self._session_key(request)]:
            self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def as_json(self) -> list[dict[str, object]]:
        """The entries for the admin API; ``seconds_left`` until each expires."""
        now = self._clock()
        return [
            {
                "key": list(key),
                "instance": entry.replay.instance,
                "prefer_instance": entry.replay.prefer_instance,
                "source": entry.source,
                "seconds_left": round(entry.expires - now, 3),
            }
            for key, entry in self._entries.items()
            if entry.expires > now
        ]

    def _put(self, key: Key, entry: Cached) -> None:
        self._entries.pop(key, None)
        self._entries[key] = entry
        while len(self._entries) > CAPACITY:
            del self._entries[next(iter(self._entries))]

    def _path_keys(self, request: Request) -> list[Key]:
        """Keys of every path above the request's own, the longest first."""
        host, path = host_of(request), path_of(request)
        keys: list[Key] = []
        while path:
            keys.append(("path", host, path))
            path = path.rpartition("/")[0]
        return [*keys, ("path", host, "")]

    def _rule(self, request: Request) -> ReplayCacheRule | None:
        matching = [rule for rule in self._rules if prefix_matches(*split_prefix(rule.path_prefix), request)]
        if not matching:
            return None
        longest = len(split_prefix(matching[0].path_prefix)[1])
        equal = [rule for rule in matching if len(split_prefix(rule.path_prefix)[1]) == longest]
        return next((rule for rule in equal if session_value(rule, request.headers)), equal[0])

    def _session_key(self, request: Request) -> list[Key]:
        rule = self._rule(request)
        value = session_value(rule, request.headers) if rule else None
        if rule is None or not value:
            return []
        return [("session", host_of(request), rule.path_prefix, rule.type, rule.name.lower(), value)]


def split_prefix(pattern: str) -> tuple[str, str]:
    """``example.com/api/*`` as host and path without its implied end: ``("example.com", "/api")``.

    The host is empty when the pattern names none; the path is empty for ``/``.
    """
    host, slash, path = pattern.partition("/")
    path = (slash + path).removesuffix("*").rstrip("/")
    return host.lower(), path


def prefix_matches(host: str, path: str, request: Request) -> bool:
    """Whether a pattern covers a request: the path itself and everything below it, on that host or on any."""
    own = path_of(request)
    return host in ("", host_of(request)) and (own == path or own.startswith(path + "/"))


def host_of(request: Request) -> str:
    """The request's host in lower case, without a port."""
    host = (value_of(request.headers, b"host") or b"").decode("latin-1").lower()
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdigit() else host


def path_of(request: Request) -> str:
    """The request's path without its query and without a slash at its end."""
    return request.target.partition(b"?")[0].decode("latin-1").rstrip("/")


def session_value(rule: ReplayCacheRule, headers: Headers) -> str | None:
    """The value that identifies the session for ``rule``; None if the request lacks it."""
    if rule.type == "header":
        value = value_of(headers, rule.name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1").strip()
    for name, value in headers:
        if name.lower() == b"cookie":
            found = _cookie(value.decode("latin-1"), rule.name)
            if found is not None:
                return found
    return None


def _cookie(text: str, name: str) -> str | None:
    """The value of one cookie. Malformed cookies are skipped, because browsers may send them."""
    for part in text.split(";"):
        key, separator, value = part.strip().partition("=")
        if separator and key == name:
            return value.strip().strip('"')
    return None
