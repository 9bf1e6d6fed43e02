"""Decides where one request goes next, from its headers, the replay cache and the replays of the app. No I/O.

The exchange reads ``wish`` and ``headers_for`` before each attempt, and reports replays and failures. Only this module
interprets replays.
"""

from __future__ import annotations

from dataclasses import replace

from parity.fly.edge.headers import Header, Headers, value_of
from parity.fly.edge.regions import names_region
from parity.fly.edge.replay import MAX_HOPS, Failure, Replay, ReplayError, Transform, replay_source
from parity.fly.edge.replay_cache import Cached, ReplayCache
from parity.fly.edge.request import Request
from parity.fly.edge.wish import Wish, wish_of


class Route:
    """``request`` is the request for the next Machine; ``note`` is the use of the cache, for ``/fly/requests``."""

    def __init__(self, cache: ReplayCache, original: Request, *, app: str, region: str) -> None:
        self._cache, self._original, self._app, self._region = cache, original, app, region
        self.request = original
        self.wish = wish_of(original.headers, region)
        self.note = ""
        self._hops = 0
        self._extra: Headers = []
        self._status: bytes | None = None
        self._pending: tuple[Replay, str] | None = None  # the current replay, and the Machine that issued it
        self._final = False  # a fallback's request, which may not be replayed again
        self._cached = self._look_up()

    def _look_up(self) -> Cached | None:
        """Use the cached replay, unless the client names a Machine, or skips the cache and is allowed to."""
        if self.wish.force or self.wish.prefer:
            return None
        cached = self._cache.find(self._original)
        if cached is None:
            return None
        skip = (value_of(self._original.headers, b"fly-replay-cache-control") or b"").strip().lower() == b"skip"
        if skip and cached.allow_bypass:
            self._status, self.note = b"bypass", "bypass"
            return None
        self._status, self.note = b"hit", "hit"
        self.wish = self._wish_of_replay(cached.replay, cached.source)
        return cached

    @property
    def timeout_s(self) -> float | None:
        """Timeout in seconds for the current replay to reach its target."""
        return self._pending[0].timeout_s if self._pending else None

    def headers_for(self, machine: str) -> list[Header]:
        """The headers that tell ``machine`` how the request was routed."""
        headers = list(self._extra)
        if self._status is not None and (self._hops or self._cached):
            headers.append((b"fly-replay-cache-status", self._status))
        if self.wish.prefer is not None and self.wish.prefer != machine:
            headers.append((b"fly-preferred-instance-unavailable", self.wish.prefer.encode("latin-1", "replace")))
        return headers

    def reached(self) -> None:
        """The request was sent to a Machine, which ends the replay's timeout and fallback."""
        self._pending = None

    def forget_cached(self) -> bool:
        """The cached replay's target is gone. Returns whether the request is routed as if nothing were cached.

        Fly does not document this case; its docs call the cache an optimization that the app must not depend on.
        """
        if self._cached is None:
            return False
        self._cache.invalidate(self._original)
        self._cached, self._status, self.note = None, None, "removed: its target cannot be reached"
        self.wish = wish_of(self._original.headers, self._region)
        return True

    def replay(self, replay: Replay, source: str, now_us: int) -> None:
        """Follow the replay that Machine ``source`` answered with. Raises ``ReplayError``."""
        if self._final:
            raise ReplayError("fly-replay: a request that a fallback returned cannot be replayed again")
        self._hops += 1
        if self._hops > MAX_HOPS:
            raise ReplayError(f"fly-replay: more than {MAX_HOPS} hops")
        if replay.invalidate:
            self._cache.invalidate(self._original)
            self.note = "invalidated"
        elif self._cached is None:
            # A replay by the target of a cached replay does not change the cache. Fly calls this case undefined.
            self.note = self._cache.store(self._original, replay, source) or self.note
        self._cached = None
        if self._status != b"bypass":
            self._status = b"miss"
        self.request = transformed(self.request, replay.transform)
        self._extra = [(b"fly-replay-src", replay_source(source, self._region, now_us, replay.state))]
        self._pending = (replay, source)
        self.wish = self._wish_of_replay(replay, source)

    def fall_back(self, reason: str, elapsed_ms: int) -> bool:
        """The current replay failed. Returns whether the request goes back to the Machine that issued it."""
        pending, self._pending = self._pending, None
        if pending is None or pending[0].fallback is None:
            return False
        replay, source = pending
        failure = Failure(replay, source, reason, elapsed_ms, self._app, self._region)
        self._extra = [(b"fly-replay-failed", failure.header())]
        self._status, self._final, self.request = None, True, self._original
        self.wish = Wish(force=source) if replay.fallback == "force_self" else Wish(prefer=source)
        return True

    def _wish_of_replay(self, replay: Replay, source: str) -> Wish:
        nowhere = replay.regions if replay.regions and not names_region(replay.regions, self._region) else None
        return Wish(replay.instance, replay.prefer_instance, source if replay.elsewhere else None, nowhere)


def transformed(request: Request, transform: Transform | None) -> Request:
    """``request`` with the changes of a JSON replay."""
    if transform is None:
        return request
    target = request.target if transform.path is None else transform.path.encode("ascii")
    gone = {name.lower().encode("latin-1", "replace") for name in transform.delete_headers}
    gone |= {name.lower().encode("latin-1", "replace") for name, _ in transform.set_headers}
    kept = [(name, value) for name, value in request.headers if name.lower() not in gone]
    added = [(n.encode("latin-1", "replace"), v.encode("latin-1", "replace")) for n, v in transform.set_headers]
    return replace(request, target=target, headers=[*kept, *added])
