"""A release: what all Machines run. Its own state machine: pending → running → complete or failed."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from parity.fly.machines.driver import Image

UNRESOLVED = Image("")


class ReleaseStatus(StrEnum):
    """As ``fly releases`` names them."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


FOLLOWS: dict[ReleaseStatus, frozenset[ReleaseStatus]] = {
    ReleaseStatus.PENDING: frozenset({ReleaseStatus.RUNNING}),
    ReleaseStatus.RUNNING: frozenset({ReleaseStatus.COMPLETE, ReleaseStatus.FAILED}),
    ReleaseStatus.COMPLETE: frozenset(),
    ReleaseStatus.FAILED: frozenset(),
}


class ReleaseFailed(Exception):
    """The release's Machines did not become healthy; they keep running, as on Fly (flyctl rolls nothing back)."""


@dataclass
class Release:
    """``image`` or ``source``: None as configured. ``env`` is laid over the configured one, None removes a name.

    ``resolved`` is what every Machine of this release starts, whatever a tag means by then.
    """

    number: int
    image: str | None = None
    source: Path | None = None
    env: dict[str, str | None] = field(default_factory=dict)
    resolved: Image = UNRESOLVED
    status: ReleaseStatus = ReleaseStatus.PENDING
    created: float = field(default_factory=time.time)
    reason: str = ""

    def move(self, to: ReleaseStatus, reason: str = "") -> None:
        if to not in FOLLOWS[self.status]:
            raise ValueError(f"release {self.number} is {self.status}: it cannot become {to}")
        self.status, self.reason = to, reason

    @property
    def version(self) -> str:
        """What ``FLY_MACHINE_VERSION`` says: a ULID on Fly, here ordered by the release's number."""
        return f"01PARITY{self.number:018d}"

    def environment(self, configured: dict[str, str]) -> dict[str, str]:
        """The configured environment with this release's changes."""
        merged: dict[str, str | None] = {**configured, **self.env}
        return {name: value for name, value in merged.items() if value is not None}

    def stored(self) -> dict[str, object]:
        """Everything that ``restored`` needs."""
        return {**asdict(self), "source": str(self.source) if self.source else None}

    @classmethod
    def restored(cls, data: dict[str, Any]) -> Release:
        """The release that ``stored`` wrote; one that was being put in force counts as failed."""
        data = {**data, "source": Path(data["source"]) if data["source"] else None}
        data |= {"resolved": Image(**data["resolved"]), "status": ReleaseStatus(data["status"])}
        release = cls(**data)
        if release.status in (ReleaseStatus.PENDING, ReleaseStatus.RUNNING):
            release.status, release.reason = ReleaseStatus.FAILED, "the stand-in ended during this release"
        return release

    def as_json(self) -> dict[str, object]:
        return {
            "number": self.number,
            "version": self.version,
            "image": self.image,
            "source": str(self.source) if self.source else None,
            "image_ref": self.resolved.ref,
            "digest": self.resolved.digest,
            "commit": self.resolved.commit,
            "variant": self.resolved.variant,
            "dev": self.resolved.dev,
            "env": self.env,
            "status": str(self.status),
            "reason": self.reason,
            "created": self.created,
        }
