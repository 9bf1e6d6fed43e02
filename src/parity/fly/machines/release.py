"""A release: the image and environment of all Machines. Its states: pending → running → complete or failed."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from parity.fly.machines.driver import Image

UNRESOLVED = Image("")


class ReleaseStatus(StrEnum):
    """The states, with the names of ``fly releases``."""

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
    """The release's Machines did not become healthy. They keep running, as on Fly (flyctl does not roll back)."""


@dataclass
class Release:
    """``image`` and ``source`` None: as configured. ``env`` changes the configured environment; None removes a name.

    ``resolved`` is the image that every Machine of this release starts, even if the tag later names another image.
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
        """The value of ``FLY_MACHINE_VERSION``: a ULID on Fly, here a text in the order of releases."""
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
        """The release from the data of ``stored``. If it was being deployed, it counts as failed."""
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
