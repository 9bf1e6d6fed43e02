"""CORS policy, lifecycle rules and locks of each bucket. The stand-in stores them itself, whatever store holds the
objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from parity.r2 import cors, lifecycle, locks
from parity.r2.cors import Policy
from parity.r2.lifecycle import Lifecycle
from parity.r2.locks import Locks


@dataclass
class Configurations:
    """Configuration by bucket. A bucket without an entry has no CORS policy, no locks, and R2's default lifecycle rule.
    An empty lifecycle entry means that the rules were deleted."""

    cors: dict[str, Policy] = field(default_factory=dict)
    lifecycles: dict[str, Lifecycle] = field(default_factory=dict)
    locks: dict[str, Locks] = field(default_factory=dict)

    def lifecycle(self, bucket: str) -> Lifecycle:
        return self.lifecycles.get(bucket, lifecycle.DEFAULT)

    def forget(self, bucket: str) -> None:
        """Forget the configuration of a deleted bucket."""
        for part in (self.cors, self.lifecycles, self.locks):
            part.pop(bucket, None)

    def clear(self) -> None:
        for part in (self.cors, self.lifecycles, self.locks):
            part.clear()

    def to_json(self) -> dict[str, dict[str, object]]:
        return {
            "cors": {bucket: cors.to_json(policy) for bucket, policy in self.cors.items()},
            "lifecycles": {bucket: lifecycle.to_json(rules) for bucket, rules in self.lifecycles.items()},
            "locks": {bucket: locks.to_json(rules) for bucket, rules in self.locks.items()},
        }

    def load(self, data: dict[str, dict[str, object]]) -> None:
        """Take over what ``to_json`` gave."""
        self.clear()
        self.cors.update({bucket: cors.from_json(policy) for bucket, policy in data["cors"].items()})
        for bucket, rules in data.get("lifecycles", {}).items():
            self.lifecycles[bucket] = lifecycle.from_json(rules) if rules != lifecycle.to_json(()) else ()
        self.locks.update({bucket: locks.from_json(rules) for bucket, rules in data.get("locks", {}).items()})
