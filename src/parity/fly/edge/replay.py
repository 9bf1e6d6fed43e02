"""``fly-replay``: a Machine answers with it to hand the request to another one (superfly/docs, August 2026)."""

from __future__ import annotations

from dataclasses import dataclass

from parity.fly.edge.headers import Headers, value_of

MAX_HOPS = 10
# Above this, in bytes, a request's body is not kept and cannot be replayed.
BODY_LIMIT = 10 * 1024 * 1024
# Kept bodies of all exchanges together, in bytes: what is above cannot be replayed either, so memory stays bounded.
TOTAL_LIMIT = 64 * 1024 * 1024


class ReplayError(Exception):
    """The header asks for something that is malformed or that the stand-in does not serve."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Where a request goes next. ``excluded`` Machines are not chosen (``elsewhere=true``)."""

    instance: str | None = None
    prefer_instance: str | None = None
    excluded: str | None = None
    state: str | None = None


def parse_replay(headers: Headers, *, app: str, region: str, from_machine: str) -> Replay | None:
    """The replay that a response asks for, None without one. Raises ``ReplayError``.

    Only this app and its one region exist here: another app or region, ``timeout``, ``fallback`` and the JSON form are
    refused as not implemented.
    """
    kind = (value_of(headers, b"content-type") or b"").split(b";")[0].strip().lower()
    if kind == b"application/vnd.fly.replay+json":
        raise ReplayError("the JSON form of fly-replay is not implemented")
    value = value_of(headers, b"fly-replay")
    if value is None:
        return None
    found: dict[str, str] = {}
    for field in value.decode("latin-1").split(";"):
        if not field.strip():
            continue
        key, separator, text = field.partition("=")
        if not separator:
            raise ReplayError(f"fly-replay: {field!r} is not key=value")
        found[key.strip()] = text.strip()
    unknown = set(found) - {"instance", "prefer_instance", "region", "app", "state", "elsewhere"}
    if unknown:
        raise ReplayError(f"fly-replay: {', '.join(sorted(unknown))} is not implemented")
    if found.get("app", app) != app:
        raise ReplayError(f"fly-replay: app {found['app']!r} is not implemented: there is only {app}")
    if region not in found.get("region", region).split(","):
        raise ReplayError(f"fly-replay: no Machine in region {found['region']!r}; there is only {region}")
    return Replay(
        instance=found.get("instance"),
        prefer_instance=found.get("prefer_instance"),
        excluded=from_machine if found.get("elsewhere", "").lower() == "true" else None,
        state=found.get("state"),
    )


def replay_source(from_machine: str, region: str, replayed_us: int, state: str | None) -> bytes:
    """The ``fly-replay-src`` header of a replayed request; ``replayed_us`` is Unix time in microseconds."""
    parts = [f"instance={from_machine}", f"region={region}", f"t={replayed_us}"]
    if state is not None:
        parts.append(f"state={state}")
    return ";".join(parts).encode("latin-1")


class Budget:
    """Bytes that all kept bodies may take together."""

    def __init__(self, limit: int = TOTAL_LIMIT) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; False when there is no room."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size
