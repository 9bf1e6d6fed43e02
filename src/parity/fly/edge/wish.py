"""The Machine that a request must, should or must not go to, from its own headers or a replay."""

from __future__ import annotations

from dataclasses import dataclass

from parity.fly.edge.headers import Headers, value_of
from parity.fly.edge.regions import names_region


@dataclass(frozen=True, slots=True)
class Wish:
    """``force``: only that Machine. ``prefer``: that one if it can. ``excluded``: any but that one.

    ``nowhere`` names regions of which the app has none: there is no candidate.
    """

    force: str | None = None
    prefer: str | None = None
    excluded: str | None = None
    nowhere: str | None = None


def wish_of(headers: Headers, region: str) -> Wish:
    """What the request's own headers ask for. ``fly-prefer-region`` has no effect where there is one region."""
    found: list[str | None] = []
    for name in (b"fly-force-instance-id", b"fly-prefer-instance-id", b"fly-force-region"):
        value = value_of(headers, name)
        found.append(None if value is None else value.decode("latin-1").strip())
    force, prefer, regions = found
    return Wish(force, prefer, nowhere=regions if regions and not names_region(regions, region) else None)
