"""The state of the API beside the fleet: secrets, releases, leases, and the configuration of each Machine.

Secrets, releases, volumes and addresses survive a restart of the stand-in; a promotion needs the list of releases to
roll back. Leases and configurations of Machines do not survive, because a restart creates new Machines.
"""

from __future__ import annotations

import hashlib
import re
import secrets as random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parity.fly import owned_file

LEASE_S = 30.0
# Fields that survive a restart, in addition to changed secrets.
_KEPT = ("secrets_version", "releases", "definitions", "addresses", "builds", "volumes")


def stamp(seconds: float | None = None) -> str:
    """A time in Fly's format; None: now."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Lease:
    """The exclusive right to change a Machine until ``expires`` (Unix seconds)."""

    nonce: str
    expires: float


@dataclass
class Secret:
    """One secret. ``deployed`` says whether Machines have this value."""

    value: str
    updated: str
    deployed: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]


@dataclass
class ApiState:
    """The state of one app. ``configured`` has each Machine's configuration as flyctl sent it.

    ``first_secrets`` are the stand-in's secrets at its start. ``differences`` are the names of variables that only the
    stand-in sets. ``lacking`` counts calls that are not implemented. ``kept`` is the file for the state that survives a
    restart, and its owner.
    """

    secrets: dict[str, Secret] = field(default_factory=dict)
    secrets_version: int = 0
    releases: list[dict[str, Any]] = field(default_factory=list)
    definitions: dict[str, Any] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    configured: dict[str, dict[str, Any]] = field(default_factory=dict)
    addresses: list[dict[str, Any]] = field(default_factory=list)
    builds: int = 0
    exists: bool = True
    first_secrets: Mapping[str, str] = field(default_factory=dict)
    differences: frozenset[str] = frozenset()
    lacking: Counter[str] = field(default_factory=Counter)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    kept: tuple[Path, str] | None = None

    @classmethod
    def opened(cls, secrets: Mapping[str, str], differences: frozenset[str], path: Path, owner: str) -> ApiState:
        """The state of a stand-in that starts with ``secrets``, with the changes saved before a restart."""
        found = {name: Secret(value, stamp(), deployed=True) for name, value in secrets.items()}
        state = cls(found, first_secrets=dict(secrets), differences=differences, kept=(path, owner))
        if before := owned_file.load(path, owner):
            state._restore(before)
        return state

    def save(self) -> None:
        """Save the state that survives a restart."""
        if self.kept is None:
            return
        path, owner = self.kept
        names = {*self.secrets, *self.first_secrets}
        changed = {
            name: asdict(secret) if (secret := self.secrets.get(name)) else None
            for name in names
            if name not in self.secrets or self.secrets[name].value != self.first_secrets.get(name)
        }
        data = {name: getattr(self, name) for name in _KEPT}
        owned_file.save(path, owner, {**data, "secrets": changed})

    def _restore(self, before: dict[str, Any]) -> None:
        for name in _KEPT:
            setattr(self, name, before[name])
        for name, secret in before["secrets"].items():
            if secret is None:
                self.secrets.pop(name, None)
            else:
                self.secrets[name] = Secret(**secret)
        for volume in self.volumes:  # the restart removed their Machines
            volume["attached_machine_id"] = None

    def lack(self, what: str) -> None:
        """Count a call that is not implemented; the first one of each kind is printed on stderr."""
        self.lacking[what] += 1
        if self.lacking[what] == 1:
            sys.stderr.write(f"fly api: {what} is not implemented\n")

    def lease_of(self, machine: str) -> Lease | None:
        """The Machine's lease, unless it has expired."""
        lease = self.leases.get(machine)
        if lease and lease.expires < time.time():
            del self.leases[machine]
            return None
        return lease

    def take_lease(self, machine: str, nonce: str, ttl_s: float) -> Lease | None:
        """A new lease, or with its nonce the extended one. None if another client holds the lease."""
        lease = self.lease_of(machine)
        if lease and lease.nonce != nonce:
            return None
        lease = lease or Lease(random.token_hex(8), 0)
        lease.expires = time.time() + ttl_s
        self.leases[machine] = lease
        return lease

    def add_volume(self, name: str, region: str, size_gb: int) -> dict[str, Any]:
        """Add a volume in the form of Fly's API. The data are in the Docker volume with the mount's name."""
        volume = {
            "id": f"vol_{random.token_hex(8)}",
            "name": name,
            "state": "created",
            "size_gb": size_gb,
            "region": region,
            "zone": "zone1",
            "encrypted": True,
            "host_status": "ok",
            "attached_machine_id": None,
            "attached_alloc_id": None,
            "created_at": stamp(),
        }
        self.volumes.append(volume)
        return volume

    def free_volume(self, name: str, region: str) -> dict[str, Any]:
        """An unattached volume with this name; a new one if there is none."""
        free = (one for one in self.volumes if one["name"] == name and one["attached_machine_id"] is None)
        return next(free, None) or self.add_volume(name, region, 1)

    def attach(self, config: dict[str, Any], machine: str) -> None:
        """Attach the volumes of a Machine's configuration to it."""
        named = {str(mount.get("volume")) for mount in config.get("mounts") or []}
        for volume in self.volumes:
            if volume["id"] in named:
                volume["attached_machine_id"] = machine

    def detach(self, machine: str) -> None:
        """Detach the volumes of a destroyed Machine. They stay available."""
        for volume in self.volumes:
            if volume["attached_machine_id"] == machine:
                volume["attached_machine_id"] = None

    def begin(self, image: str, definition: Any) -> None:
        """Add the stand-in's first release if there is none. On Fly each running Machine has a release, which commands
        such as ``scale count`` need."""
        if not self.releases:
            self.set_status(self.add_release(image, "ROLLING", definition), "complete")

    def set_status(self, release: dict[str, Any], status: str) -> None:
        """Set the status of a release, as a deploy does."""
        release["status"], release["in_progress"] = status, status in ("pending", "running")

    def add_release(self, image: str, strategy: str, definition: Any) -> dict[str, Any]:
        """Add a pending release as the newest one."""
        release = {
            "id": f"rel{random.token_hex(6)}",
            "version": len(self.releases) + 1,
            "stable": True,
            "in_progress": True,
            "status": "pending",
            "strategy": strategy,
            "user": "developer@parity.test",
            "created_at": stamp(),
            "image_ref": image,
        }
        self.releases.append(release)
        self.definitions[str(release["id"])] = definition
        return release


@dataclass(frozen=True)
class Reference:
    """The parts of an image reference; ``tag`` and ``digest`` may be empty."""

    registry: str
    repository: str
    tag: str
    digest: str


def parse_reference(text: str) -> Reference:
    """Parse ``host/repository:tag@sha256:…``. Raises ``ValueError``."""
    found = re.fullmatch(
        r"(?:(?P<registry>[^/@]*[.:][^/@]*|localhost)/)?(?P<repository>[^:@]+)"
        r"(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
        text,
    )
    if found is None:
        raise ValueError(
            f"{text!r} is not an image reference: expected HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:…"
        )
    return Reference(found["registry"] or "docker.io", found["repository"], found["tag"] or "", found["digest"] or "")
