"""Fly's regions and the aliases that stand for several of them (superfly/docs, reference/regions, August 2026)."""

from __future__ import annotations

_US = frozenset({"dfw", "ewr", "iad", "lax", "ord", "sjc"})

# `any` stands for every region; it is not listed here.
ALIASES: dict[str, frozenset[str]] = {
    "us": _US,
    "usa": _US,
    "na": _US | {"yyz"},
    "sa": frozenset({"gru"}),
    "eu": frozenset({"ams", "arn", "cdg", "fra", "lhr"}),
    "apac": frozenset({"bom", "nrt", "sin", "syd"}),
}


def names_region(wanted: str, region: str) -> bool:
    """Whether a comma-separated list of regions and aliases includes ``region``."""
    for word in wanted.lower().split(","):
        name = word.strip()
        if name in (region, "any") or region in ALIASES.get(name, frozenset()):
            return True
    return False
